//! The objects that failures name.

use std::fmt;
use std::path::{Path, PathBuf};

/// An object that is acted on, for the text and the data of a failure.
pub trait Object {
    /// What a failure says of the object.
    fn text(&self) -> String;

    /// The path, if the object is a file.
    fn path(&self) -> Option<String> {
        None
    }
}

/// A file, and the flag or the property that names it.
#[derive(Clone, Copy, Debug)]
pub struct Named<'a>(pub &'a str, pub &'a Path);

impl Object for Named<'_> {
    fn text(&self) -> String {
        format!("{}: {}", self.0, self.1.display())
    }

    fn path(&self) -> Option<String> {
        Some(self.1.display().to_string())
    }
}

impl Object for &Path {
    fn text(&self) -> String {
        self.display().to_string()
    }

    fn path(&self) -> Option<String> {
        Some(self.text())
    }
}

impl Object for PathBuf {
    fn text(&self) -> String {
        self.as_path().text()
    }

    fn path(&self) -> Option<String> {
        Some(self.as_path().text())
    }
}

impl Object for std::path::Display<'_> {
    fn text(&self) -> String {
        self.to_string()
    }

    fn path(&self) -> Option<String> {
        Some(self.to_string())
    }
}

impl Object for &str {
    fn text(&self) -> String {
        (*self).to_owned()
    }
}

impl Object for String {
    fn text(&self) -> String {
        self.clone()
    }
}

impl Object for &String {
    fn text(&self) -> String {
        (*self).clone()
    }
}

impl Object for fmt::Arguments<'_> {
    fn text(&self) -> String {
        self.to_string()
    }
}
