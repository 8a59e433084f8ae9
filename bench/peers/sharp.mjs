// Converts with sharp what it is told on its input, a JSON object a line, and answers with what that took, a line each.
//
// {"input": PATH, "output": PATH, "what": NAME} -> {"wall_ms": …, "cpu_ms": …}; the time is that from bytes in memory to bytes in memory.
import { readFile, writeFile } from "node:fs/promises";
import { createInterface } from "node:readline";
import sharp from "sharp";

// Every input is another one: nothing could be found again.
sharp.cache(false);

const conversions = {
  "png-jpeg": (image) => image.flatten({ background: "#ffffff" }).jpeg({ quality: 80 }),
  "jpeg-png": (image) => image.png(),
  "jpeg-png-fast": (image) => image.png({ compressionLevel: 1 }),
  "jpeg-thumbnail": (image) => image.resize(320, 320, { fit: "inside", withoutEnlargement: true }).jpeg({ quality: 82 }),
  "jpeg-webp": (image) => image.webp({ quality: 80 }),
};

for await (const line of createInterface({ input: process.stdin })) {
  const { input, output, what } = JSON.parse(line);
  const bytes = await readFile(input);
  const cpu = process.cpuUsage();
  const begin = performance.now();
  const made = await conversions[what](sharp(bytes)).toBuffer();
  const wall_ms = performance.now() - begin;
  const { user, system } = process.cpuUsage(cpu);
  await writeFile(output, made);
  console.log(JSON.stringify({ wall_ms, cpu_ms: (user + system) / 1000 }));
}
