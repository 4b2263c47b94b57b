//! The runtime tests as a standalone program.

fn main() -> std::process::ExitCode {
    runtime_tests::main()
}
