//! Closed sets of names: the publishers' streams, channels and architectures.

use crate::base::closed_set::closed_set;

closed_set! {
    /// A stream of Fedora CoreOS.
    pub enum Stream {
        /// Recommended for most machines.
        Stable = "stable",
        /// Becomes stable two weeks later.
        Testing = "testing",
        /// Based on the next release of Fedora.
        Next = "next",
    }
}

closed_set! {
    /// An architecture that Fedora CoreOS supports.
    pub enum CoreosArch {
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

closed_set! {
    /// A channel of Flatcar.
    pub enum Channel {
        /// Recommended for most machines.
        Stable = "stable",
        /// Becomes stable later.
        Beta = "beta",
        /// Becomes beta later.
        Alpha = "alpha",
    }
}

closed_set! {
    /// An architecture that Flatcar supports.
    pub enum FlatcarArch {
        /// x86-64.
        Amd64 = "amd64",
        /// 64-bit ARM.
        Arm64 = "arm64",
    }
}
