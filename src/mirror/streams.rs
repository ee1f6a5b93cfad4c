//! Closed sets whose members have names: what publishers call their streams and processors.

/// An enum with a name for each of its values.
macro_rules! names {
    ($(#[$doc:meta])* $type:ident { $($(#[$name_doc:meta])* $name:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $type { $($(#[$name_doc])* $name,)+ }

        impl $type {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// Its name.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }
        }

        impl ::std::str::FromStr for $type {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                let found = Self::ALL.iter().copied().find(|name| name.as_str() == text);
                let known: Vec<&str> = Self::ALL.iter().map(|name| name.as_str()).collect();
                found.ok_or_else(|| format!("wanted one of {}", known.join(", ")))
            }
        }

        impl ::std::fmt::Display for $type {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}
pub(super) use names;

names! {
    /// A stream of Fedora CoreOS.
    Stream {
        /// What most machines should run.
        Stable = "stable",
        /// What becomes stable two weeks later.
        Testing = "testing",
        /// What comes with the next Fedora.
        Next = "next",
    }
}

names! {
    /// A processor that Fedora CoreOS is there for.
    CoreosArch {
        /// x86-64.
        X86_64 = "x86_64",
        /// 64-bit ARM.
        Aarch64 = "aarch64",
        /// POWER.
        Ppc64le = "ppc64le",
        /// IBM Z.
        S390x = "s390x",
    }
}

names! {
    /// A channel of Flatcar.
    Channel {
        /// What most machines should run.
        Stable = "stable",
        /// What becomes stable later.
        Beta = "beta",
        /// What becomes beta later.
        Alpha = "alpha",
    }
}

names! {
    /// A processor that Flatcar is there for.
    FlatcarArch {
        /// x86-64.
        Amd64 = "amd64",
        /// 64-bit ARM.
        Arm64 = "arm64",
    }
}
