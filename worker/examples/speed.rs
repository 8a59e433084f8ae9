use std::time::Instant;
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let rounds: u32 = args[1].parse().unwrap();
    let limits = tintype_store::ConversionLimits { memory_bytes: 1 << 30, ..Default::default() };
    for spec in args[2].split(';') {
        let spec: tintype_store::Spec = spec.parse().unwrap();
        let (mut all, mut inb, mut outb) = (0.0, 0, 0);
        for file in &args[3..] {
            let bytes = std::fs::read(file).unwrap();
            let header = tintype_store::header::read_header(&bytes).unwrap();
            let mut times = Vec::new();
            let mut len = 0;
            for _ in 0..rounds {
                let begin = Instant::now();
                let made = tintype_worker::convert::convert(&bytes, &header, &spec, &limits).unwrap();
                times.push(begin.elapsed().as_secs_f64() * 1e3);
                len = made.bytes.len();
            }
            times.sort_by(f64::total_cmp);
            all += times[0];
            inb += bytes.len();
            outb += len;
            println!("{file} {spec}: {:.1} ms best, {:.1} median, {len} bytes", times[0], times[times.len() / 2]);
        }
        println!("{spec}: {all:.1} ms {inb} -> {outb}");
    }
}
