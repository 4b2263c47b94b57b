//! The lines of CRIU's log that say why it failed.

/// How many lines an error quotes. The first is the cause; a few more say what CRIU was doing.
const QUOTED: usize = 3;

/// Texts of CRIU's errors, and what to do about them. Where CRIU itself names a flag, it is that of
/// the runtime, apart from those that are listed here.
const ADVICE: [(&str, &str); 5] = [
    ("--skip-in-flight", "use --tcp-skip-in-flight"),
    ("Use link-remap option", "use --link-remap"),
    (
        "Can't lookup mount=",
        "the file is the host's: of these only the caller's terminal can be replaced, with --shell-job; \
         otherwise let the container's streams be pipes or /dev/null",
    ),
    (
        "Can't open parent path",
        "in a user namespace, other users must be able to search the directory that contains the images and their parent",
    ),
    (
        "without peer",
        "a process outside of the container has the other end: \
         CRIU finds it in the same network namespace only, with --ext-unix-sk",
    ),
];

/// What to do about the first error that this is known of.
pub(super) fn advice(log: &str) -> Option<&'static str> {
    let mut errors = log.lines().filter(|line| line.contains("Error ("));
    errors.find_map(|line| {
        let found = ADVICE.iter().find(|(text, _)| line.contains(text));
        found.map(|(_, advice)| *advice)
    })
}

/// The lines with errors, without time stamps: the first ones, because the last ones only say that
/// everything failed. Programs that CRIU executes, such as ip(8), also report what does no harm.
pub(super) fn decisive(log: &str) -> Vec<&str> {
    let from = |text: &'static str| {
        let lines = log.lines();
        lines.filter_map(move |line| Some(line[line.find(text)?..].trim_end()))
    };
    let own: Vec<_> = from("Error (").take(QUOTED).collect();
    if own.is_empty() {
        return from("Error: ").take(QUOTED).collect();
    }
    own
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_errors_are_quoted() {
        let log = "(00.1) Dumping\nError: ipv4: Address already assigned.\n(00.2) Error (criu/files-reg.c:1790): Can't lookup mount=34\n\
                   (00.3) 12: Error (criu/a.c:1): two\n(0.4) Warn (x)\n(0.5) Error (b): three\n\
                   (0.6) Error (criu/cr-dump.c:1): Dumping FAILED.\n";
        assert_eq!(
            decisive(log),
            [
                "Error (criu/files-reg.c:1790): Can't lookup mount=34",
                "Error (criu/a.c:1): two",
                "Error (b): three",
            ]
        );
        assert!(decisive("nothing\n").is_empty());
        assert_eq!(advice(log), Some(ADVICE[2].1));
        assert_eq!(advice("(0.1) Warn (x): --skip-in-flight\n"), None);
    }
}
