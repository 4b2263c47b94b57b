//! The runtime tests under `cargo test`.

fn main() -> std::process::ExitCode {
    runtime_tests::main()
}
