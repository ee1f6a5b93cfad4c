//! Renders a plan as text for the user.

use crate::base::plural::count;
use std::fmt;

use super::{ContentSource, Other, Plan, PlannedFile, PlannedSetFile, Stamped};
use crate::build::make;
use crate::printable::printable;

/// Maximum number of sites' loaders to print.
const SHOWN: usize = 20;

impl fmt::Display for PlannedSetFile<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pin {
            Some(pin) => write!(f, "{} of the signed set {}", pin.name, self.set),
            None => write!(f, "{}, for the signed set {}", self.site.source(), self.set),
        }
    }
}

impl fmt::Display for Plan {
    /// Writes the plan as text for the user, one line for each step.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pins = &self.inputs.pins;
        writeln!(f, "iPXE {} at commit {}", pins.ipxe.version, pins.ipxe.commit)?;
        for patch in &self.inputs.patches {
            writeln!(f, "  patch {}", printable(&patch.name))?;
        }
        for build in &self.builds {
            writeln!(f, "build {} (configuration `{}`)", build.name(), build.config.name)?;
            writeln!(f, "  make {}", make::variables(&pins.ipxe, &build.config, build.platform).join(" "))?;
            for (size, loaders) in &build.bases {
                let loaders: Vec<&str> = loaders.keys().map(|loader| loader.as_str()).collect();
                writeln!(f, "  link bases of {}, with a slot of {size} bytes", loaders.join(", "))?;
            }
        }
        writeln!(f, "tree")?;
        let mut sited: usize = 0;
        for PlannedFile { path, origin } in self.files() {
            match origin {
                ContentSource::Stamped(Stamped { loader, site, .. }) => {
                    sited += usize::from(site.name.is_some());
                    if site.name.is_none() || sited <= SHOWN {
                        let (source, slot) = (site.source(), site.slot_sha256.short());
                        writeln!(
                            f,
                            "  {path} = {loader} with {source} (slot {slot}), configuration `{}`",
                            site.config.name
                        )?;
                    }
                }
                ContentSource::Medium(planned) => {
                    sited += usize::from(planned.site.name.is_some());
                    if planned.site.name.is_none() || sited <= SHOWN {
                        let parts = planned.parts().map(|part| part.loader.as_str()).collect::<Vec<_>>().join(", ");
                        let (source, slot) = (planned.site.source(), planned.site.slot_sha256.short());
                        writeln!(f, "  {path} = {} with {parts} with {source} (slot {slot})", planned.medium)?;
                    }
                }
                ContentSource::OfSet(planned) => {
                    sited += usize::from(planned.site.name.is_some());
                    if planned.site.name.is_none() || sited <= SHOWN {
                        writeln!(f, "  {path} = {planned}")?;
                    }
                }
                ContentSource::Other(Other::Linked { loader, config, .. }) => {
                    writeln!(f, "  {path} = what is linked into {loader}, configuration `{config}`")?;
                }
                ContentSource::Other(Other::Member(member)) => {
                    writeln!(f, "  {path} = {} of syslinux {}", member.path, pins.syslinux.version)?;
                }
                ContentSource::Other(Other::Text(text)) => {
                    writeln!(f, "  {path} = {} of text", count(text.len(), "byte"))?;
                }
            }
        }
        let more = sited.saturating_sub(SHOWN);
        if more > 0 { writeln!(f, "  and {} of sites more", count(more, "file")) } else { Ok(()) }
    }
}
