//! Values with a D-Bus type. Source: D-Bus specification, "Type System".

use std::fmt;

use crate::json;

/// A value of a D-Bus type.
#[derive(Clone, Debug, PartialEq)]
pub enum Variant {
    /// `b`
    Bool(bool),
    /// `y`
    Byte(u8),
    /// `n`
    I16(i16),
    /// `q`
    U16(u16),
    /// `i`
    I32(i32),
    /// `u`
    U32(u32),
    /// `x`
    I64(i64),
    /// `t`
    U64(u64),
    /// `d`
    F64(f64),
    /// `s`
    Text(String),
    /// The signature of the elements, which even an empty array has, and the elements.
    Array(String, Vec<Self>),
    /// `(…)`
    Tuple(Vec<Self>),
    /// A value that carries its own type.
    Boxed(Box<Self>),
}

impl Variant {
    /// An array of strings.
    pub fn strings(items: &[&str]) -> Self {
        let items = items.iter().map(|item| Self::Text((*item).to_owned()));
        Self::Array("s".to_owned(), items.collect())
    }

    /// Adds the elements of `other`, if both are arrays.
    pub fn append(&mut self, other: Self) {
        if let (Self::Array(_, items), Self::Array(_, more)) = (self, other) {
            items.extend(more);
        }
    }

    /// The D-Bus signature of the type.
    pub fn signature(&self) -> String {
        match self {
            Self::Bool(_) => "b".to_owned(),
            Self::Byte(_) => "y".to_owned(),
            Self::I16(_) => "n".to_owned(),
            Self::U16(_) => "q".to_owned(),
            Self::I32(_) => "i".to_owned(),
            Self::U32(_) => "u".to_owned(),
            Self::I64(_) => "x".to_owned(),
            Self::U64(_) => "t".to_owned(),
            Self::F64(_) => "d".to_owned(),
            Self::Text(_) => "s".to_owned(),
            Self::Array(element, _) => format!("a{element}"),
            Self::Tuple(items) => {
                let inner: String = items.iter().map(Self::signature).collect();
                format!("({inner})")
            }
            Self::Boxed(_) => "v".to_owned(),
        }
    }
}

/// The form that systemctl(1) shows: an unlimited number is `infinity`.
impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => f.write_str(if *value { "yes" } else { "no" }),
            Self::Byte(value) => write!(f, "{value:#04x}"),
            Self::I16(value) => write!(f, "{value}"),
            Self::U16(value) => write!(f, "{value}"),
            Self::I32(value) => write!(f, "{value}"),
            Self::U32(value) => write!(f, "{value}"),
            Self::I64(value) => write!(f, "{value}"),
            Self::U64(u64::MAX) => f.write_str("infinity"),
            Self::U64(value) => write!(f, "{value}"),
            // As JSON, which the program can write anyway.
            Self::F64(value) => f.write_str(&json::text(&(*value).into())),
            Self::Text(value) => write!(f, "{value:?}"),
            Self::Array(_, items) => write_list(f, "[", items, "]"),
            Self::Tuple(items) => write_list(f, "(", items, ")"),
            Self::Boxed(value) => write!(f, "{value}"),
        }
    }
}

fn write_list(
    f: &mut fmt::Formatter<'_>,
    open: &str,
    items: &[Variant],
    close: &str,
) -> fmt::Result {
    f.write_str(open)?;
    for (index, item) in items.iter().enumerate() {
        write!(f, "{}{item}", if index == 0 { "" } else { " " })?;
    }
    f.write_str(close)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shown_as_systemctl_does() {
        let value = Variant::Tuple(vec![
            Variant::U64(u64::MAX),
            Variant::Bool(true),
            Variant::Text("x".to_owned()),
        ]);
        assert_eq!(value.to_string(), "(infinity yes \"x\")");
    }
}
