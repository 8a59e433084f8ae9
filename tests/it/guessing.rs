//! Whoever guesses passwords learns nothing about who is there, neither from the answers nor from how long they take.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use tintype_tests::{Client, Refused, Tintype, number, sign_in};
use tonic::Code;

/// Wrong sign-ins that are let through before the first pause.
const FREE: usize = 5;
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// An address of this machine; each counts for itself.
fn address(number: usize) -> IpAddr {
    IpAddr::from([127, 1, (number / 250) as u8, (number % 250) as u8 + 1])
}

/// A wrong sign-in, and how long the answer took.
async fn guess(client: &Client, username: &str) -> (Refused, Duration) {
    let begin = Instant::now();
    let refused = sign_in(client.channel.clone(), username, "not it").await.expect_err("a wrong password");
    (refused, begin.elapsed())
}

fn is_failed(refused: &Refused) -> bool {
    match refused.kind() {
        (Code::Unauthenticated, "SIGN_IN_FAILED") => true,
        (Code::ResourceExhausted, "SIGN_IN_THROTTLED") => false,
        other => panic!("{other:?} for a wrong password"),
    }
}

#[tokio::test]
async fn of_many_guesses_few_are_looked_at_whoever_they_are_about() {
    let guesses = number("TINTYPE_TEST_SIGN_INS", 200);
    let tintype = Tintype::embedded().await;
    let lanes = [("admin", address(0)), ("nobody", address(1))];
    let clients = [Client::connect_from(lanes[0].1, &tintype.grpc_url).await, Client::connect_from(lanes[1].1, &tintype.grpc_url).await];
    let begin = Instant::now();
    let mut failed = [0_usize; 2];
    for number in 0..guesses {
        let lane = number % 2;
        let (refused, _) = guess(&clients[lane], lanes[lane].0).await;
        // Each pause is twice the one before, the first is a second.
        let possible = FREE + (begin.elapsed().as_secs() + 1).ilog2() as usize;
        if is_failed(&refused) {
            failed[lane] += 1;
            assert!(failed[lane] <= possible, "{} {failed:?} {:?}", lanes[lane].0, begin.elapsed());
        } else {
            let longest = Duration::from_secs(1 << (failed[lane] - FREE));
            assert!(refused.retry_after.is_some_and(|pause| pause > Duration::ZERO && pause <= longest), "{refused:?}");
        }
    }
    println!("{guesses} wrong sign-ins in {:?}: {failed:?} of a user who is there and of one who is not were looked at", begin.elapsed());
    assert!(failed.iter().all(|failed| *failed >= FREE), "{failed:?}");
}

/// The share of pairs of which the left one is the smaller one: 1/2 when the two cannot be told apart (Mann and Whitney, 1947).
fn smaller_share(left: &[Duration], right: &[Duration]) -> f64 {
    let pairs = left.iter().flat_map(|left| right.iter().map(move |right| (left, right)));
    let wins: f64 = pairs.map(|(left, right)| if left < right { 1.0 } else { f64::from(u8::from(left == right)) / 2.0 }).sum();
    wins / (left.len() * right.len()) as f64
}

fn quartiles(times: &mut [Duration]) -> [Duration; 3] {
    times.sort_unstable();
    [1, 2, 3].map(|quarter| times[times.len() * quarter / 4])
}

#[tokio::test]
async fn a_wrong_sign_in_takes_as_long_for_users_who_are_there_as_for_those_who_are_not() {
    let users = number("TINTYPE_TEST_SIGN_INS", 200).div_ceil(2 * FREE);
    let tintype = Tintype::embedded().await;
    let mut times = [Vec::new(), Vec::new()];
    for user in 0..users {
        let names = [format!("there-{user}"), format!("absent-{user}")];
        tintype.add_user(&names[0]).await;
        // Each name has its free failures, and so has each address: nobody waits.
        let clients = [
            Client::connect_from(address(2 * user), &tintype.grpc_url).await,
            Client::connect_from(address(2 * user + 1), &tintype.grpc_url).await,
        ];
        let mut last_free = [Instant::now(); 2];
        for attempt in 0..FREE {
            // They take turns in being first.
            let first = (user + attempt) % 2;
            for lane in [first, 1 - first] {
                last_free[lane] = Instant::now();
                let (refused, time) = guess(&clients[lane], &names[lane]).await;
                assert!(is_failed(&refused), "{} {attempt}", names[lane]);
                times[lane].push(time);
            }
        }
        for lane in 0..2 {
            let (refused, _) = guess(&clients[lane], &names[lane]).await;
            let is_throttled = !is_failed(&refused) && refused.retry_after.is_some();
            // On a busy machine the pause may be over by now.
            assert!(is_throttled || last_free[lane].elapsed() >= FIRST_PAUSE, "{} after {FREE}: {refused:?}", names[lane]);
        }
    }
    let [there, absent] = &mut times;
    let share = smaller_share(there, absent);
    // Of the share of two samples that come from one distribution.
    let deviation = ((there.len() + absent.len() + 1) as f64 / (12 * there.len() * absent.len()) as f64).sqrt();
    println!(
        "{} wrong sign-ins each, quartiles: there {:?}, absent {:?}; who is there is quicker in {share:.3} of pairs (z = {:.2})",
        there.len(),
        quartiles(there),
        quartiles(absent),
        (share - 0.5) / deviation
    );
    // A user who is not looked at like the others would be quicker, or slower, nearly always.
    assert!((share - 0.5).abs() < 5.0 * deviation, "they can be told apart");
}
