//! Properties whose value is one of a few names.

/// Defines the type of such a property. Each line has the variant, the kernel's number, oci-spec's
/// variant and the name for people. `new` turns oci-spec's type into it; if that has variants
/// that the config must not contain, which stand behind `except`, it returns an `Option`.
macro_rules! values {
    (
        $(#[$($meta:tt)*])* $name:ident of $oci:ident $(except $refused:ident)? {
            $($variant:ident = $number:expr, $theirs:ident, $text:literal;)*
        }
    ) => {
        $(#[$($meta)*])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(missing_docs, reason = "the variants are named as the values of the property")]
        pub enum $name {
            $($variant = $number,)*
        }

        impl $name {
            /// Every value.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            $crate::config::values::new!(oci::$oci [$($theirs $variant)*] $($refused)?);

            /// Its name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }
        }

        impl Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

/// The constructor of the type.
macro_rules! new {
    ($oci:ty [$($theirs:ident $variant:ident)*]) => {
        fn new(value: $oci) -> Self {
            match value {
                $(<$oci>::$theirs => Self::$variant,)*
            }
        }
    };
    ($oci:ty [$($theirs:ident $variant:ident)*] $refused:ident) => {
        fn new(value: $oci) -> Option<Self> {
            match value {
                $(<$oci>::$theirs => Some(Self::$variant),)*
                <$oci>::$refused => None,
            }
        }
    };
}

pub(super) use {new, values};
