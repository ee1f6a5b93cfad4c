//! The content of each file in a planned tree. Loaders are stamped from bases; other files come from the cache or the
//! plan.

use std::sync::{Arc, Once, OnceLock};

use camino::{Utf8Path, Utf8PathBuf};

use crate::base::diagnostic::{Class, Diagnose, Diagnosis, Diagnostic, Help};
use crate::base::paths::Cache;
use crate::base::process::{self, Command};
use crate::base::progress::Progress;
use crate::base::{fs, parallel};
use crate::build::Built;
use crate::build::bases::BuiltBase;
use crate::build::make::MakeEnvironment;
use crate::build::plan::{ContentSource, Other, Plan, PlannedFile, PlannedMedium, PlannedSetFile, Stamped};
use crate::config::pins::MemberPin;
use crate::config::sites::Site;
use crate::digest::{Content, Sha256Digest};
use crate::fetch::{signed_set, syslinux};
use crate::loader::signature::Signatures;
use crate::loader::target::Loader;
use crate::publish::description::{Dedup, FileDigests};
use crate::publish::medium::{self, MediumRecipe};
use crate::publish::signer::{self, Signer};
use crate::stamp::slot::Slot;
use crate::stamp::stamper::{self, Stamper};
use crate::tree::manifest::{Manifest, ManifestEntry};

/// Errors from producing the content of a file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A loader cannot be stamped.
    #[error(transparent)]
    Stamp(#[from] stamper::Error),
    /// iPXE's own packer cannot pack a loader.
    #[error(transparent)]
    Zbin(#[from] process::Error),
    /// A boot medium cannot be made.
    #[error(transparent)]
    Medium(#[from] medium::Error),
    /// A loader cannot be signed.
    #[error(transparent)]
    Sign(#[from] signer::Error),
    /// A loader has no digest that a signature could cover.
    #[error("`{path}` is nothing that can be signed: {problem}")]
    Unsignable {
        /// Its path in the tree.
        path: Utf8PathBuf,
        /// What is wrong with its headers.
        problem: String,
    },
    /// A file in the cache has changed while it was in use.
    #[error("`{0}` in the cache has changed since it was checked")]
    Changed(Utf8PathBuf),
    /// A file operation failed.
    #[error(transparent)]
    Fs(#[from] fs::Error),
}

impl Diagnose for Error {
    fn diagnosis(&self) -> Diagnosis {
        match self {
            Self::Stamp(_) => Class::Failure.into(),
            Self::Zbin(error) => error.diagnosis(),
            Self::Medium(error) => error.diagnosis(),
            Self::Sign(error) => error.diagnosis(),
            Self::Unsignable { path, .. } => Class::Failure.about(path),
            Self::Changed(path) => Class::Failure.about(path).help(Help::Again),
            Self::Fs(error) => error.diagnosis(),
        }
    }
}

/// Version of the stamping procedure. Raise it whenever that changes, so that a loader stamped in the old way is not
/// mistaken for a new one.
const STAMPING: u32 = 1;

/// The same for the making of boot media.
const MEDIA: u32 = 1;

/// Sources of all files of a tree.
pub struct TreeContents<'a> {
    /// The plan of the tree.
    pub plan: &'a Plan,
    /// Bases to stamp loaders from.
    pub built: &'a Built,
    /// The cache with the pinned files.
    pub cache: &'a Cache,
    /// Number of files to produce at once.
    pub threads: usize,
    /// Receives progress events.
    pub progress: &'a dyn Progress,
    /// Signs loaders that are built for Secure Boot; without it, they stay as they were built.
    signer: Option<&'a Signer>,
    /// Environment of other programs.
    environment: MakeEnvironment,
    warned: Once,
}

/// A file to produce. The loaders and media of a site share its slot, so that its script is rendered once.
pub struct FileJob<'p> {
    /// The file.
    pub file: PlannedFile<'p>,
    slot: Arc<OnceLock<Slot>>,
}

impl<'a> TreeContents<'a> {
    /// Creates the contents of `plan`, whose inputs are all in `cache` or `built`.
    #[must_use]
    pub fn new(plan: &'a Plan, built: &'a Built, cache: &'a Cache, threads: usize, progress: &'a dyn Progress) -> Self {
        let environment = MakeEnvironment::default();
        Self { plan, built, cache, threads, progress, signer: None, environment, warned: Once::new() }
    }

    /// Runs other programs in `environment`, which does not affect any byte.
    #[must_use]
    pub fn in_environment(self, environment: MakeEnvironment) -> Self {
        Self { environment, ..self }
    }

    /// Lets `signer` sign loaders that are built for Secure Boot.
    #[must_use]
    pub fn signed_by(self, signer: Option<&'a Signer>) -> Self {
        Self { signer, ..self }
    }

    /// Returns all files of the plan, in its order.
    pub fn jobs(&self) -> impl Iterator<Item = FileJob<'a>> + Send + use<'a> {
        // Files of the root come before and after those of the sites.
        let root = Arc::new(OnceLock::new());
        let mut last: Option<(&Site, Arc<OnceLock<Slot>>)> = None;
        self.plan.files().map(move |file| {
            let slot = match file.origin.site() {
                Some(site) if site.name.is_none() => Arc::clone(&root),
                Some(site) => {
                    let known = last.take().filter(|(of, _)| std::ptr::eq(*of, site));
                    Arc::clone(&last.insert(known.unwrap_or_else(|| (site, Arc::default()))).1)
                }
                None => Arc::default(),
            };
            FileJob { file, slot }
        })
    }

    /// Returns the content of the file of `job`.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub fn content(&self, FileJob { file, slot }: &FileJob<'_>, stamper: &mut Stamper) -> Result<Vec<u8>, Error> {
        match file.origin {
            ContentSource::Stamped(loader) => {
                self.loader(&loader, slot.get_or_init(|| loader.site.script().slot()), stamper)
            }
            ContentSource::Medium(planned) => {
                let slot = slot.get_or_init(|| planned.site.script().slot());
                let loader = |part: Stamped<'_>| Ok((part.loader, self.loader(&part, slot, stamper)?));
                self.medium(&planned, &planned.parts().map(loader).collect::<Result<Vec<_>, Error>>()?)
            }
            ContentSource::OfSet(planned) => match planned.pin {
                Some(pin) => signed_set::cached(self.cache, pin)?.ok_or_else(|| Error::Changed(file.path.clone())),
                None => Ok(planned.script().unwrap_or_default().into_bytes()),
            },
            ContentSource::Other(Other::Linked { key, .. }) => Ok(self.built.base(key).linked.clone().into_bytes()),
            ContentSource::Other(Other::Member(member)) => {
                syslinux::cached(self.cache, member)?.ok_or_else(|| Error::Changed(file.path.clone()))
            }
            ContentSource::Other(Other::Text(text)) => Ok(text.clone()),
        }
    }

    /// Returns the digest that identifies the bytes of a loader, of a boot medium or of a file of the signed set,
    /// computed from what it is made of; `None` for other files.
    #[must_use]
    pub fn identity(&self, origin: &ContentSource<'_>) -> Option<Sha256Digest> {
        match origin {
            ContentSource::Stamped(loader) => Some(self.loader_identity(loader)),
            ContentSource::Medium(planned) => Some(self.medium_identity(planned)),
            ContentSource::OfSet(planned) => Some(match planned.script() {
                Some(script) => Sha256Digest::of(format!("script {script}").as_bytes()),
                None => Sha256Digest::of(format!("set {:?}", planned.pin.map(|pin| pin.sha256)).as_bytes()),
            }),
            ContentSource::Other(_) => None,
        }
    }

    fn loader_identity(&self, loader: &Stamped<'_>) -> Sha256Digest {
        let (base, slot) = (self.built.base(&loader.base).digest, loader.site.slot_sha256);
        let signer = self.signer_of(loader).map(Signer::identity);
        let signer = signer.as_ref().map_or(&[][..], |identity| identity.as_bytes());
        Sha256Digest::of(&[&STAMPING.to_le_bytes()[..], base.as_bytes(), slot.as_bytes(), signer].concat())
    }

    /// Returns the signer of `loader`, if it gets signed.
    fn signer_of(&self, loader: &Stamped<'_>) -> Option<&'a Signer> {
        self.signer.filter(|_| loader.site.config.sbat(loader.loader.platform()).is_some())
    }

    /// Stamps `loader` with `slot`, and signs it if it gets signed.
    fn loader(&self, loader: &Stamped<'_>, slot: &Slot, stamper: &mut Stamper) -> Result<Vec<u8>, Error> {
        let stamped = self.stamp(self.built.base(&loader.base), slot, stamper)?;
        Ok(match self.signer_of(loader) {
            Some(signer) => signer.sign(stamped, self.progress)?,
            None => stamped,
        })
    }

    /// Returns the digests of `file`, which has `bytes`.
    ///
    /// # Errors
    ///
    /// [`Error::Unsignable`].
    pub fn digests(file: &PlannedFile<'_>, bytes: &[u8]) -> Result<FileDigests, Error> {
        let authenticode = match &file.origin {
            ContentSource::Stamped(Stamped { loader, site, .. }) if site.config.sbat(loader.platform()).is_some() => {
                let read = Signatures::of(bytes);
                Some(read.map_err(|problem| Error::Unsignable { path: file.path.clone(), problem })?.digest)
            }
            _ => None,
        };
        Ok(FileDigests { content: Content::of(bytes), authenticode })
    }

    /// Checks whether `file`, which an earlier run has made with these `digests` at `path`, is signed as it would be now.
    pub fn is_signed_as_now(&self, file: &PlannedFile<'_>, digests: FileDigests, path: &Utf8Path) -> bool {
        let ContentSource::Stamped(loader) = &file.origin else { return true };
        let Some(signer) = self.signer_of(loader) else { return true };
        let content = fs::read(path).ok();
        digests.authenticode.zip(content).is_some_and(|(wanted, content)| signer.check(wanted, &content).is_ok())
    }

    fn medium_identity(&self, planned: &PlannedMedium<'_>) -> Sha256Digest {
        let (inputs, medium) = (&self.plan.inputs, planned.medium);
        let mut parts = vec![format!("{MEDIA} {medium} {}", inputs.pins.ipxe.epoch)];
        parts.extend(inputs.toolchain.of_medium(medium).map(|tool| tool.digest().to_string()));
        parts.extend(self.plan.members_of(medium).map(|member| member.sha256.to_string()));
        parts.extend(self.genfsimg(planned).map(|text| Sha256Digest::of(text.as_bytes()).to_string()));
        parts.extend(planned.parts().map(|part| format!("{} {}", part.loader, self.loader_identity(&part))));
        Sha256Digest::of(parts.join("\n").as_bytes())
    }

    /// Returns the script that makes a boot medium, from one of its loaders' bases.
    fn genfsimg(&self, planned: &PlannedMedium<'_>) -> Option<&'a str> {
        let first = planned.parts().next()?;
        self.built.base(&first.base).genfsimg.as_deref()
    }

    /// Makes a boot medium with `loaders`.
    fn medium(&self, planned: &PlannedMedium<'_>, loaders: &[(Loader, Vec<u8>)]) -> Result<Vec<u8>, Error> {
        let members = self.plan.members_of(planned.medium).map(|member| {
            let content = syslinux::cached(self.cache, member)?;
            Ok((member.name.clone(), content.ok_or_else(|| Error::Changed(member.name.clone().into()))?))
        });
        let recipe = MediumRecipe {
            medium: planned.medium,
            pin: &self.plan.inputs.pins.ipxe,
            genfsimg: self.genfsimg(planned),
            members: members.collect::<Result<_, Error>>()?,
            path: self.plan.inputs.toolchain.path(),
            environment: &self.environment,
        };
        let scratch = fs::Temporary::create(&self.cache.stamping(), Cache::PACK)?;
        Ok(recipe.make(loaders, scratch.path(), self.progress)?)
    }

    /// Returns the manifest of the tree, without files.
    #[must_use]
    pub fn head(&self) -> Manifest {
        Manifest { secure_boot: self.signer.map(Signer::entry), ..Manifest::head(self.plan) }
    }

    /// Returns the manifest of the tree, without writing the tree.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub fn manifest(&self) -> Result<Manifest, Error> {
        let (mut manifest, mut dedup) = (self.head(), Dedup::default());
        let made = |stamper: &mut Stamper, job: FileJob<'a>| {
            let content = match job.file.origin {
                // Its content matches the pin, or it would not be in the cache.
                ContentSource::Other(Other::Member(MemberPin { sha256, size, .. })) => {
                    Content { sha256: *sha256, size: *size }.into()
                }
                // The same.
                ContentSource::OfSet(PlannedSetFile { pin: Some(pin), .. }) => {
                    Content { sha256: pin.sha256, size: signed_set::size(self.cache, pin)? }.into()
                }
                _ => Self::digests(&job.file, &self.content(&job, stamper)?)?,
            };
            Ok((job.file, content))
        };
        parallel::in_order(self.jobs(), self.threads, made, |(file, content)| {
            manifest.files.push(match self.identity(&file.origin) {
                Some(identity) => dedup.describe(&file, identity, content),
                None => ManifestEntry::new(&file, content),
            });
            Ok::<_, Error>(())
        })?;
        Ok(manifest)
    }

    fn stamp(&self, built: &BuiltBase, slot: &Slot, stamper: &mut Stamper) -> Result<Vec<u8>, Error> {
        match stamper.stamp(&built.base, slot) {
            Err(stamper::Error::ForeignPacker(loader)) => {
                self.warned.call_once(|| {
                    let message = format!(
                        "`{loader}` is packed by iPXE's own program, since the system's liblzma packs otherwise than this tool's: sites take longer"
                    );
                    self.progress.warn(Diagnostic::new(message));
                });
                self.zbin(built, slot)
            }
            other => Ok(other?),
        }
    }

    /// Packs the image of `built`, a BIOS loader, with `slot`, by iPXE's own packer, and returns the result.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub fn zbin(&self, built: &BuiltBase, slot: &Slot) -> Result<Vec<u8>, Error> {
        let folder = self.cache.stamping();
        let scratch = fs::Temporary::create(&folder, Cache::PACK)?;
        let folder = scratch.path();
        let (image, packed) = (folder.join("image"), folder.join("packed"));
        let patched = built.base.image_with(slot).map_err(stamper::Error::from)?;
        fs::write_new(&image, &patched, 0o644)?;
        let (zbin, zinfo) = (built.paths.zbin(), built.paths.zinfo());
        Command::new(format!("pack {}", built.base.record().loader), "/bin/sh")
            .args(["-c", "exec \"$0\" \"$1\" \"$2\" > \"$3\"", zbin.as_str()])
            .args([image.as_str(), zinfo.as_str(), packed.as_str()])
            .output(self.progress)?;
        Ok(fs::read(&packed)?)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::base::paths::ProjectPaths;
    use crate::base::progress::Silent;
    use crate::build::plan::Inputs;
    use crate::build_loaders::Config;
    use crate::config::sites::Options;
    use crate::toolchain::Toolchain;

    #[test]
    fn the_loaders_of_a_site_share_its_slot_and_those_of_another_site_do_not() {
        let project = ProjectPaths::new(env!("CARGO_MANIFEST_DIR"));
        let Config { pins, mut sites, patches, .. } = Config::read(&project, &Options::default(), &Silent).unwrap();
        for name in ["lab", "rack-1"] {
            let mut site = sites.default.clone().unwrap();
            site.name = Some(name.to_owned());
            sites.sites.push(site);
        }
        let plan = Plan::new(Inputs { pins, patches, toolchain: Toolchain::default() }, sites);
        let (built, cache) = (Built::default(), Cache::new("/nowhere"));
        let contents = TreeContents::new(&plan, &built, &cache, 1, &Silent);
        let mut loaders: HashMap<*const OnceLock<Slot>, Vec<Option<String>>> = HashMap::new();
        let jobs: Vec<FileJob<'_>> = contents.jobs().collect();
        for job in &jobs {
            if let ContentSource::Stamped(Stamped { site, .. }) = job.file.origin {
                loaders.entry(Arc::as_ptr(&job.slot)).or_default().push(site.name.clone());
            }
        }
        let mut found: Vec<Vec<Option<String>>> = loaders.into_values().collect();
        found.sort();
        let three = |name: Option<&str>| vec![name.map(str::to_owned); 3];
        assert_eq!(found, [three(None), three(Some("lab")), three(Some("rack-1"))]);
    }
}
