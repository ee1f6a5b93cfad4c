//! Enums whose values have names.

/// Defines an enum with a name for each of its values. Users type, read and exchange these names.
#[macro_export]
macro_rules! closed_set {
    ($(#[$meta:meta])* pub enum $type:ident { $($(#[$value_meta:meta])* $value:ident = $text:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $type { $($(#[$value_meta])* $value,)+ }

        impl $type {
            /// All values, in order.
            pub const ALL: [Self; [$($text),+].len()] = [$(Self::$value),+];

            /// Returns the name.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$value => $text,)+ }
            }
        }

        impl ::std::str::FromStr for $type {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                let found = Self::ALL.into_iter().find(|value| value.as_str() == text);
                found.ok_or_else(|| format!("wanted one of {}", Self::ALL.map(Self::as_str).join(", ")))
            }
        }

        impl ::std::fmt::Display for $type {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl ::serde::Serialize for $type {
            fn serialize<S: ::serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }
    };
}
pub use closed_set;

#[cfg(test)]
mod tests {
    closed_set! {
        /// Some.
        pub enum Some {
            /// One.
            One = "one",
            /// Two.
            Two = "another-one",
        }
    }

    #[test]
    fn a_name_is_read_as_it_is_written() {
        for value in Some::ALL {
            assert_eq!(value.to_string().parse(), Ok(value));
            assert_eq!(serde_json::json!(value), value.as_str());
        }
        assert_eq!("One".parse::<Some>().unwrap_err(), "wanted one of one, another-one");
    }
}
