//! The runtime tests as a program of their own.

fn main() -> std::process::ExitCode {
    runtime_tests::main()
}
