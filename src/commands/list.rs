//! `list`: lists the containers below the root directory.

use std::io::Write;

use anyhow::Result;
use nix::unistd::{Uid, User};

use super::{Context, DONE, Verb, print, terminal};
use crate::cli::flags::flags;
use crate::cli::groups::ListFormat;
use crate::cli::units;
use crate::error::{Chain as _, Context as _, Error, Kind};
use crate::state::{Dir, Place, State, View};

flags! {
    /// List the containers below the root directory
    #[derive(Debug)]
    pub(super) struct List {
        /// Output format
        #[arg(short, long, value_name = "FORMAT", value_parser = units::choice::<ListFormat>(), default_value = "table")]
        pub format: String,

        /// Print only the ids
        #[arg(short, long)]
        pub quiet: bool,
    }
}

impl Verb for List {
    /// Prints a table, JSON, or ids. A container that cannot be read is reported on standard error
    /// and omitted.
    fn run(&self, context: &Context) -> Result<u8> {
        let mut views = Vec::new();
        for place in context.root.containers()? {
            match view(&place) {
                Ok(view) => views.extend(view),
                // This is not an error for the log. eprintln! would panic on a closed standard
                // error.
                Err(error) => {
                    let error = error.context(format!("load container {}", place.id));
                    drop(writeln!(std::io::stderr(), "{}", Error::of_chain(error)));
                }
            }
        }
        print(&match (self.quiet, units::chosen(&self.format)) {
            (true, _) => views.iter().map(|view| format!("{}\n", view.id)).collect(),
            (false, ListFormat::Table) => table(&views, terminal::columns()),
            (false, ListFormat::Json) => json(&views)?,
        })?;
        Ok(DONE)
    }
}

/// Reads one container. Returns `None` if it was deleted after the root directory was read, or if
/// it is still being created and has no state yet.
fn view(place: &Place) -> Result<Option<View>> {
    let Some(dir) = place.open()? else {
        return Ok(None);
    };
    let state = match State::load(&dir) {
        Err(error) if error.kind() == Kind::NotFound && !is_abandoned(&dir)? => return Ok(None),
        loaded => loaded?,
    };
    let status = state.status(&dir)?;
    Ok(Some(state.view(status, owner(dir.owner))))
}

/// Whether a create that was killed has left the directory.
fn is_abandoned(dir: &Dir) -> Result<bool> {
    match dir.lock()? {
        Some(locked) => locked.is_abandoned(),
        None => Ok(false),
    }
}

/// The user's name, or `#` and the id if the user has no name.
fn owner(uid: u32) -> String {
    match User::from_uid(Uid::from_raw(uid)) {
        Ok(Some(user)) => user.name,
        _ => format!("#{uid}"),
    }
}

/// Formats the containers as one line of JSON. It is `null` if there are none, because engines
/// expect that from other runtimes.
fn json(views: &[View]) -> Result<String> {
    let text = match views {
        [] => Ok("null".to_owned()),
        _ => serde_json::to_string(views),
    };
    Ok(text.map_err(Error::from).context("list")? + "\n")
}

/// The column whose cells are shortened on a narrow terminal.
const BUNDLE: usize = 3;

/// Formats the containers as a heading and one line each. A column is three blanks wider than its
/// longest cell, and at least twelve characters wide. The last column is not padded.
///
/// On a terminal with this many columns a bundle loses its first characters if it does not fit, and
/// a line that is still too long is cut.
fn table(views: &[View], columns: Option<usize>) -> String {
    let mut rows = rows(views);
    let mut widths = widths(&rows);
    let Some(columns) = columns else {
        return lines(&rows, widths);
    };
    let owner = rows.iter().map(|row| row[5].chars().count()).max();
    let needed = widths.iter().sum::<usize>() + owner.unwrap_or_default();
    let over = needed.saturating_sub(columns);
    widths[BUNDLE] = widths[BUNDLE].saturating_sub(over).max(LEAST);
    for row in &mut rows {
        row[BUNDLE] = terminal::end_of(&row[BUNDLE], widths[BUNDLE] - GAP);
    }
    terminal::cut(&lines(&rows, widths), columns)
}

/// The blanks between two columns, and the least width of a column with them.
const GAP: usize = 3;
const LEAST: usize = 12;

fn rows(views: &[View]) -> Vec<[String; 6]> {
    let heading = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(str::to_owned);
    let rows = views.iter().map(|view| {
        [
            view.id.clone(),
            view.pid.to_string(),
            view.status.to_string(),
            view.bundle.display().to_string(),
            view.created.clone(),
            view.owner.clone(),
        ]
    });
    std::iter::once(heading).chain(rows).collect()
}

/// The widths of the padded columns.
fn widths(rows: &[[String; 6]]) -> [usize; 5] {
    std::array::from_fn(|column| {
        let longest = rows.iter().map(|row| row[column].chars().count()).max();
        (longest.unwrap_or_default() + GAP).max(LEAST)
    })
}

fn lines(rows: &[[String; 6]], widths: [usize; 5]) -> String {
    let line = |row: &[String; 6]| {
        let cells = row
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<String>() + &row[5] + "\n"
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Status;

    fn views() -> Vec<View> {
        let view = |id: &str, pid, status, bundle: &str| {
            let state = State {
                id: id.to_owned(),
                pid,
                bundle: bundle.into(),
                created: "2024-01-01T00:00:00.5Z".to_owned(),
                ..State::default()
            };
            state.view(status, "root".to_owned())
        };
        vec![
            view("a", 7, Status::Running, "/b"),
            view("a-name-that-is-long", 8, Status::Stopped, "/b"),
        ]
    }

    #[test]
    fn columns_are_filled_with_blanks() {
        assert_eq!(
            table(&views(), None),
            "\
ID                    PID         STATUS      BUNDLE      CREATED                  OWNER
a                     7           running     /b          2024-01-01T00:00:00.5Z   root
a-name-that-is-long   0           stopped     /b          2024-01-01T00:00:00.5Z   root
"
        );
        assert_eq!(
            table(&[], None),
            "ID          PID         STATUS      BUNDLE      CREATED     OWNER\n"
        );
    }

    #[test]
    fn a_table_fits_a_terminal() {
        let mut views = views();
        views[1].bundle = "/srv/containers/of/somebody/web".into();
        for columns in [200, 100, 80, 60, 20, 1] {
            let text = table(&views, Some(columns));
            assert_eq!(text.lines().count(), 3);
            for line in text.lines() {
                assert!(line.chars().count() <= columns, "{columns}: {line}");
            }
        }
        let text = table(&views, Some(97));
        assert!(text.contains(" …s/of/somebody/web   2024-"), "{text}");
        assert!(text.ends_with("Z   root\n"), "{text}");
        assert!(table(&views, Some(200)).contains("/srv/containers/of/somebody/web   "));
    }

    #[test]
    fn json_is_an_array_or_null() {
        assert_eq!(json(&[]).unwrap(), "null\n");
        let text = json(&views()).unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value[1]["status"], "stopped");
        assert_eq!(value[0]["owner"], "root");
        assert_eq!(text.lines().count(), 1);
    }

    #[test]
    fn owners() {
        assert_eq!(owner(0), "root");
        assert_eq!(owner(3_999_999_999), "#3999999999");
    }
}
