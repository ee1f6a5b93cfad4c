//! Closed sets whose members have names: what publishers call their streams and processors.

use crate::base::closed_set::closed_set;

closed_set! {
    /// A stream of Fedora CoreOS.
    pub enum Stream {
        /// What most machines should run.
        Stable = "stable",
        /// What becomes stable two weeks later.
        Testing = "testing",
        /// What comes with the next Fedora.
        Next = "next",
    }
}

closed_set! {
    /// A processor that Fedora CoreOS is there for.
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
        /// What most machines should run.
        Stable = "stable",
        /// What becomes stable later.
        Beta = "beta",
        /// What becomes beta later.
        Alpha = "alpha",
    }
}

closed_set! {
    /// A processor that Flatcar is there for.
    pub enum FlatcarArch {
        /// x86-64.
        Amd64 = "amd64",
        /// 64-bit ARM.
        Arm64 = "arm64",
    }
}
