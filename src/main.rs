//! The program: hands over to the command line and ends with its exit code.
//!
//! It never does anything else; the operating system calls it.

use std::process::ExitCode;

use tikv_jemallocator::Jemalloc;

/// Measured under deliveries: as fast as mimalloc, with two thirds of its memory. Librdkafka allocates with it, too; with
/// glibc's, what a peak took stayed with the process.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    barnabas::cli::run()
}
