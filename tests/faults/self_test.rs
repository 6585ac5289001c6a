//! The judge's own test on the whole: faults are planted in the program, and each must make a run fail.
//!
//! A run without one comes first and must hold; else a failure would say nothing of the plant. ([`crate::plants`] does
//! the same with what a run has observed, at the end of every run.)

use std::process::ExitCode;
use std::time::Duration;

use crate::judge::Account;
use crate::nemesis::Fault;
use crate::options::Options;

/// What is planted, and in which passes.
const PLANTS: [&str; 5] = [
    "drop-delivery=~50",
    "commit-early=~3",
    "skip-publication=~20",
    "flip-byte=~50",
    "swallow-error=~1",
];
/// Enough for each plant to show: work in flight, retries, failed writes.
const FAULTS: [Fault; 3] = [Fault::Kill, Fault::Unwritable, Fault::Kill];

pub fn run(options: &Options) -> ExitCode {
    if !cfg!(feature = "failpoints") {
        eprintln!("--self-test needs the feature failpoints");
        return ExitCode::from(2);
    }
    let sound = outcome(options, None, |account| account.faults().is_empty());
    let found = PLANTS.map(|plant| outcome(options, Some(plant), was_found));
    if sound && found.iter().all(|found| *found) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// By what the judge saw: that a fault was not told in time is none of its findings.
fn was_found(account: &Account) -> bool {
    account.lost() + account.phantoms + account.unsafe_commits > 0
}

fn outcome(options: &Options, plant: Option<&str>, is_right: impl Fn(&Account) -> bool) -> bool {
    let options =
        Options { plant: plant.map(str::to_owned), time: Duration::ZERO, ..options.clone() };
    let name = plant.unwrap_or("nothing");
    match crate::run(&options, |nemesis, world| nemesis.run_through(world, &FAULTS)) {
        Ok(report) => {
            let (is_right, account) = (is_right(&report.account), &report.account);
            let verdict = if is_right { "as it must be" } else { "WRONG" };
            println!(
                "planted {name:<20} lost {}, phantoms {}, unsafe commits {}: {verdict}",
                account.lost(),
                account.phantoms,
                account.unsafe_commits,
            );
            if !is_right {
                eprint!("{}", report.table());
            }
            is_right
        }
        Err(error) => {
            println!("planted {name:<20} inconclusive: {error}");
            false
        }
    }
}
