//! The `trunkline` program.

/// Requests are allocated on one thread and freed on another, the writer's; glibc's allocator spends a sixth of the time of an
/// ingest on that. Huge pages are off, because with them an idle gateway takes 10 MiB more.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    trunkline::main()
}
