//! The lines of CRIU's log that say why it failed.

/// How many lines an error quotes. The first is the cause; a few more say what CRIU was doing.
const QUOTED: usize = 3;

/// The lines with errors, without time stamps: the first ones, because the last ones only say that
/// everything failed.
pub(super) fn decisive(log: &str) -> Vec<&str> {
    let errors = log.lines().filter_map(|line| {
        let at = line.find("Error (").or_else(|| line.find("Error: "))?;
        Some(line[at..].trim_end())
    });
    errors.take(QUOTED).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_errors_are_quoted() {
        let log = "(00.1) Dumping\n(00.2) Error (criu/files-reg.c:1790): Can't lookup mount=34\n\
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
    }
}
