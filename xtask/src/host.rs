//! Environment of this process, read once and passed on as values.

use std::env;
use std::ffi::OsString;
use std::os::unix::fs::MetadataExt as _;
use std::sync::OnceLock;

use camino::{Utf8DirEntry, Utf8Path, Utf8PathBuf};
use netboot_loaders::base::fs::{self, Lock};
use netboot_loaders::base::http::{AUTHORITIES, HttpClient, NetworkAccess, NoProxy, Proxy, TransferLimits};
use netboot_loaders::base::paths::{Cache, ProjectPaths, Staging, is_partial, is_temporary};
use netboot_loaders::base::process::{Command, ProgramEnvironment, find_program, quoted};
use netboot_loaders::base::progress::Progress;
use netboot_loaders::base::url::Url;
use netboot_loaders::build::BuildContext;
use netboot_loaders::build::make::{Launcher, MakeEnvironment, Settings};
use netboot_loaders::build::plan::Plan;
use netboot_loaders::clean;
use netboot_loaders::config::secure_boot::SecureBoot;
use netboot_loaders::fetch::git::local_path;
use netboot_loaders::fetch::origins::Origins;
use netboot_loaders::printable::{is_harmful, printable};
use netboot_loaders::publish::signer::{Signer, Workplace};
use netboot_loaders::tree::enclosing::outside_trees;

use crate::cli::{Global, MakeArgs, OriginArgs, Output};
use crate::exit::Failure;
use crate::program;
use crate::ui::Ui;
use netboot_loaders::base::diagnostic::{Class, Diagnostic, Flag, Help, Subcommand};

/// First argument of the helper process that fetches from a git server.
pub const GIT_HELPER: &str = "__git-helper";
/// Variables that control the lookup of certificates and host names.
const GIT_ENVIRONMENT: [&str; 4] = ["SSL_CERT_FILE", "SSL_CERT_DIR", "RES_OPTIONS", "LOCALDOMAIN"];

/// Variables whose values are paths and addresses that messages show.
const NAMING_VARIABLES: [&str; 16] = [
    "NETBOOT_LOADERS_CACHE_DIR",
    "XDG_CACHE_HOME",
    "HOME",
    "TMPDIR",
    "PATH",
    "CARGO_MANIFEST_DIR",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "https_proxy",
    "HTTPS_PROXY",
    "all_proxy",
    "ALL_PROXY",
    "http_proxy",
    "HTTP_PROXY",
    "no_proxy",
    "NO_PROXY",
];

/// Rejects arguments, variables and a current folder whose text could look like another line of a message, control the
/// terminal, or appear in a different order. Later messages can therefore show them without escapes.
pub fn check_process() -> Result<(), Failure> {
    for argument in env::args_os().skip(1) {
        let argument = argument.to_string_lossy();
        let shown = Url::from(argument.clone().into_owned()).to_string();
        check_text(
            &argument,
            Class::Usage,
            &format!("the argument `{}`", printable(&shown)),
            "rename what has that name",
        )?;
    }
    for name in NAMING_VARIABLES {
        let value = env::var_os(name).unwrap_or_default();
        check_text(
            &value.to_string_lossy(),
            Class::BadInput,
            &format!("the variable `{name}`"),
            "set it to another value",
        )?;
    }
    let folder = env::current_dir().unwrap_or_default();
    let folder = folder.to_string_lossy();
    check_text(&folder, Class::BadInput, &format!("the current folder `{}`", printable(&folder)), "rename it")
}

/// Rejects `text` unless it is one line that reads as it is displayed. The message calls it `subject`.
fn check_text(text: &str, class: Class, subject: &str, help: impl Into<Help>) -> Result<(), Failure> {
    // Persian and Hindi words and emoji contain these two joiners; messages escape them.
    let joins = |character: char| matches!(character, '\u{200c}' | '\u{200d}');
    let Some(character) = text.chars().find(|character| is_harmful(*character) && !joins(*character)) else {
        return Ok(());
    };
    let text = format!(
        "{subject} has `{}`, wanted one line without control characters and without characters that are invisible or \
         change the direction of text",
        printable(character.encode_utf8(&mut [0; 4]))
    );
    Err(Failure::new(class, text).help(help))
}

/// Project, cache and environment of this process.
pub struct Host<'u> {
    /// Paths of the project.
    pub project: ProjectPaths,
    cache_dir: Option<Utf8PathBuf>,
    /// Shared lock, held as long as this process may use the cache.
    cache_lock: OnceLock<Lock>,
    /// `PATH`, without relative folders.
    pub path: String,
    /// Receives progress events and results.
    pub ui: &'u Ui,
}

impl<'u> Host<'u> {
    /// Reads the environment. The options in `global` take precedence.
    pub fn new(global: &Global, ui: &'u Ui) -> Result<Self, Failure> {
        let project = match (&global.project, variable("CARGO_MANIFEST_DIR").filter(|_| program::is_alias())) {
            (Some(folder), _) => absolute(folder)?,
            (None, Some(xtask)) => Utf8PathBuf::from(xtask).parent().map(ToOwned::to_owned).unwrap_or_default(),
            (None, None) => absolute(Utf8Path::new("."))?,
        };
        let path = variable("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
        // Relative folders would be other folders for make, which runs in another working folder.
        let path = path.split(':').filter(|folder| folder.starts_with('/')).collect::<Vec<_>>().join(":");
        let cache_dir = global.cache_dir.clone().filter(|folder| !folder.as_str().is_empty());
        Ok(Self { project: ProjectPaths::new(project), cache_dir, cache_lock: OnceLock::new(), path, ui })
    }

    /// Returns the cache, locked so that no process removes anything from it while this one runs.
    pub fn cache(&self) -> Result<Cache, Failure> {
        let cache = self.unlocked_cache()?;
        if self.cache_lock.get().is_none() {
            self.warn_of_other_writers(&cache);
            match Lock::share(&cache.use_lock(), self.ui) {
                Ok(Some(lock)) => drop(self.cache_lock.set(lock)),
                Ok(None) => return Err(Failure::new(Class::Interrupted, "interrupted while waiting for the cache")),
                // In a read-only cache, no process can remove anything either; code that must write reports the error.
                Err(_) => {}
            }
        }
        Ok(cache)
    }

    /// Warns if other users can change `cache`, and thereby what is built.
    fn warn_of_other_writers(&self, cache: &Cache) {
        let Ok(metadata) = cache.root().metadata() else { return };
        let foreign = ![rustix::process::geteuid().as_raw(), 0].contains(&metadata.uid());
        let who = match (foreign, metadata.mode()) {
            (true, _) => format!("the user number {}", metadata.uid()),
            (false, mode) if mode & 0o002 != 0 => "every user".to_owned(),
            _ => return,
        };
        let text = format!("{who} can write to the cache `{}`, and so decides what is built", printable(cache.root()));
        self.ui.warn(Diagnostic::new(text).help(Flag::CacheDir).help("take that right away with `chown` and `chmod`"));
    }

    /// Returns the cache by its real path, without the lock: the compiler resolves symbolic links, and must be given
    /// the same path that it sees.
    pub fn unlocked_cache(&self) -> Result<Cache, Failure> {
        let folder = self.cache_folder()?;
        outside_trees(&folder)?;
        netboot_loaders::base::fs::create_dir_all(&folder)?;
        let folder = folder.canonicalize_utf8()?;
        check_text(folder.as_str(), Class::BadInput, &format!("the cache `{}`", printable(&folder)), Flag::CacheDir)?;
        let cache = Cache::new(folder);
        // A folder that the user chose may contain other files. If it is read-only, code that must write reports it.
        let is_new = |entry: std::io::Result<Utf8DirEntry>| {
            entry.is_ok_and(|entry| is_partial(entry.file_name()) || entry.file_name() == "lost+found")
        };
        if self.is_users_cache() || cache.root().read_dir_utf8().is_ok_and(|mut entries| entries.all(is_new)) {
            let _ = clean::tag(&cache);
        }
        Ok(cache)
    }

    /// Checks whether the cache is this tool's default folder rather than one that the user chose.
    pub fn is_users_cache(&self) -> bool {
        self.cache_dir.is_none()
    }

    /// Returns the path of the cache, which may not exist yet.
    pub fn cache_folder(&self) -> Result<Utf8PathBuf, Failure> {
        self.cache_dir.as_deref().map_or_else(user_cache, absolute)
    }

    /// Adds the remedy if a path cannot be written, which depends on the purpose of the path. `outputs` are those of
    /// the command.
    pub fn with_storage_hint(&self, mut failure: Failure, outputs: &[Output]) -> Failure {
        let Some((path, full)) = failure.unwritable.take() else { return failure };
        let is_in = |folder: &Utf8Path| path.starts_with(folder);
        let in_cache =
            |folder: &Utf8PathBuf| is_in(folder) || folder.canonicalize_utf8().is_ok_and(|real| is_in(&real));
        let temporary = temporary_folder().unwrap_or_default();
        // The requested output can also be in the folder for temporary files.
        let named = |output: &Output| Some(absolute(output.path.as_deref()?).ok()?.parent()?.to_owned());
        let folders: Vec<Utf8PathBuf> = outputs.iter().filter_map(named).collect();
        let folders = folders.iter().map(|folder| &**folder).chain([self.project.root()]);
        // A folder of this run alone is temporary in any case.
        let of_run = path.strip_prefix(&temporary).ok().and_then(|path| path.components().next());
        let of_run = of_run.is_some_and(|name| is_temporary(name.as_str()));
        let chosen = !of_run && folders.filter(|folder| folder.starts_with(&temporary)).any(is_in);
        let written = match outputs {
            [output] => Some(output),
            outputs => outputs.iter().find(|output| named(output).is_some_and(|folder| is_in(&folder))),
        };
        let (folder, other) = if let Some(cache) = self.cache_folder().ok().filter(|cache| in_cache(cache)) {
            // What is written may be temporary, and below a folder that is temporary, too.
            let folder =
                if full { cache.canonicalize_utf8().ok().filter(|real| is_in(real)).or(Some(cache)) } else { None };
            (folder.map_or_else(|| path.parent().map(ToOwned::to_owned), Some), Some(Flag::CacheDir.into()))
        } else if is_in(&temporary) && !chosen {
            (Some(temporary), Some(Help::from("choose another folder with the variable `TMPDIR`")))
        } else {
            (path.parent().map(lasting), written.map(|output| output.flag.into()))
        };
        let folder = folder.unwrap_or_else(|| path.clone());
        let remedy = match fs::barrier(&path) {
            Some(barrier) if !full => format!("let this user enter the folder `{barrier}`"),
            _ if full => format!("free space on the file system of `{folder}`"),
            _ => format!("make `{folder}` writable"),
        };
        failure.diagnosis.help.splice(0..0, std::iter::once(remedy.into()).chain(other));
        failure
    }

    /// Returns an HTTP client that uses the proxy named in the environment.
    pub fn http(&self) -> Result<HttpClient, Failure> {
        let proxy = self.proxy();
        let mut http = HttpClient::new(proxy.as_ref(), TransferLimits::default())?;
        http.authorities = variable(AUTHORITIES).map(Utf8PathBuf::from);
        let environment = variables(|name| GIT_ENVIRONMENT.contains(&name));
        let helper = Command::new("fetch from a git server", own_program()?).args([GIT_HELPER]);
        http.git_helper = Some(Box::new(Command { env: environment, ..helper }));
        Ok(http)
    }

    /// Returns the proxy that curl would use for https.
    fn proxy(&self) -> Option<Proxy> {
        let first = |names: &[&str]| names.iter().find_map(|name| Some(((*name).to_owned(), variable(name)?)));
        let (name, url) = first(&["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"])?;
        let (list, except) = first(&["no_proxy", "NO_PROXY"]).unwrap_or_default();
        let (except, unknown) = NoProxy::parse(&except);
        for entry in unknown {
            let message = format!(
                "`{list}` has `{}`, which is ignored: it is neither a name nor an IP address nor a subnet",
                Url::from(entry)
            );
            let help = "write it as in `example.org`, `192.0.2.7`, `10.0.0.0/8`, `fd00::/8` or `*`";
            self.ui.warn(Diagnostic::new(message).help(help));
        }
        Some(Proxy { url: Url::from(url), variable: name, except })
    }

    /// Returns the `named` tree or tarball, or else the project's own tree. It must exist.
    pub fn tree(&self, named: Option<&Utf8Path>) -> Result<Utf8PathBuf, Failure> {
        let path = named.map_or_else(|| self.project.default_tree(), Utf8Path::to_owned);
        let help = named.map_or(Help::Run(Subcommand::BuildLoaders), |_| {
            "check the path; it is relative to the current folder".into()
        });
        let missing = || Failure::new(Class::DamagedTree, format!("there is no tree `{path}`")).help(help);
        if fs::exists(&path)? { Ok(path) } else { Err(missing()) }
    }

    /// Returns the origins that inputs may come from.
    pub fn origins(&self, args: &OriginArgs) -> Result<Origins, Failure> {
        let network = if args.offline { NetworkAccess::Offline } else { NetworkAccess::Online(self.http()?) };
        let local = |given: &Option<String>| match given {
            Some(path) if local_path(path).is_some() && !path.starts_with("file:") => {
                absolute(Utf8Path::new(path)).map(|path| Some(path.into_string().into()))
            }
            other => Ok(other.clone().map(Url::from)),
        };
        Ok(Origins {
            network,
            ipxe_url: local(&args.ipxe_url)?,
            syslinux_archive: local(&args.syslinux_archive)?,
            signed_set: args.secure_boot_set.as_deref().map(absolute).transpose()?,
            bundle: args.sources_from.as_deref().map(absolute).transpose()?,
        })
    }

    /// Returns the settings for make.
    ///
    /// # Errors
    ///
    /// If the compiler launcher is not found.
    pub fn settings(&self, args: &MakeArgs) -> Result<Settings, Failure> {
        if let Some(program) = args.launcher.as_ref().filter(|program| find_program(program, &self.path).is_none()) {
            let text = format!("found no compiler launcher `{program}`");
            return Err(Failure::new(Class::MissingTool, text).help("install it, or build without `--launcher`"));
        }
        Ok(Settings {
            path: self.path.clone(),
            jobs: args.jobs.map_or_else(processors, usize::from),
            werror: !args.no_werror,
            launcher: args.launcher.clone().map(|program| Launcher { program, env: launcher_environment() }),
            environment: MakeEnvironment::default(),
        })
    }

    /// Returns the signer of loaders, which go to `tree`, if they get signed; `epoch` is the time of its signatures.
    pub fn signer(
        &self,
        config: Option<&SecureBoot>,
        epoch: u64,
        tree: &Utf8Path,
        cache: &Cache,
    ) -> Result<Option<Signer>, Failure> {
        let (path, environment) = (&self.path, whole_environment());
        let workplace = Workplace { tree, path, environment, epoch, cache };
        Ok(config.map(|config| Signer::prepare(config, workplace, self.ui)).transpose()?)
    }

    /// Returns the context for building the loaders of `plan`, with sources and bases in the same cache.
    pub fn context<'a>(
        &self,
        plan: &'a Plan,
        cache: &'a Cache,
        origins: &'a Origins,
        settings: &'a Settings,
    ) -> BuildContext<'a>
    where
        Self: 'a,
    {
        BuildContext { plan, sources: cache, origins, cache, settings, progress: self.ui }
    }
}

/// Returns the innermost folder on the way to `folder` that is not in a folder of [`Staging`], which is removed after a
/// failure.
fn lasting(folder: &Utf8Path) -> Utf8PathBuf {
    let is_staging = |folder: &&Utf8Path| folder.file_name().is_some_and(|name| Staging::tree_of(name).is_some());
    let staging = folder.ancestors().filter(is_staging).last();
    staging.and_then(Utf8Path::parent).unwrap_or(folder).to_owned()
}

fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

/// Returns `path` as an absolute path, which is valid in every working folder.
pub fn absolute(path: &Utf8Path) -> Result<Utf8PathBuf, Failure> {
    let absolute = camino::absolute_utf8(path);
    absolute.map_err(|error| {
        Failure::new(Class::Failure, format!("cannot find the folder of `{path}`\n  caused by: {error}"))
    })
}

/// Returns the path of this program.
pub fn own_program() -> Result<Utf8PathBuf, Failure> {
    let path = env::current_exe()?;
    Utf8PathBuf::from_path_buf(path)
        .map_err(|path| Failure::new(Class::BadInput, format!("`{}` is not UTF-8", path.display())).help("move it"))
}

/// Returns the command line of this process without `switch`, as a user types it.
pub fn own_command_without(switch: &str) -> String {
    let words = env::args_os().skip(1).filter(|word| word != switch);
    words.fold(program::name().to_owned(), |command, word| command + " " + &quoted(&word.to_string_lossy()))
}

/// Returns the number of processors that this process may use.
pub fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Returns the folder for temporary files.
pub fn temporary_folder() -> Result<Utf8PathBuf, Failure> {
    Utf8PathBuf::from_path_buf(env::temp_dir()).map_err(|path| {
        Failure::new(Class::BadInput, format!("`{}` is not UTF-8", path.display())).help("set `TMPDIR`")
    })
}

fn user_cache() -> Result<Utf8PathBuf, Failure> {
    let base = variable("XDG_CACHE_HOME").filter(|path| path.starts_with('/')).map(Utf8PathBuf::from);
    let base = base.or_else(|| variable("HOME").map(|home| Utf8PathBuf::from(home).join(".cache")));
    let base = base.ok_or_else(|| {
        Failure::new(Class::BadInput, "found neither `HOME` nor `XDG_CACHE_HOME`, wanted a cache folder")
            .help(Flag::CacheDir)
    })?;
    Ok(base.join("netboot-loaders"))
}

/// Returns the variables that configure compiler launchers.
fn launcher_environment() -> ProgramEnvironment {
    variables(|name| name == "HOME" || ["CCACHE_", "SCCACHE_", "DISTCC_"].iter().any(|prefix| name.starts_with(prefix)))
}

/// Returns the variables that GitHub's command line program reads.
pub fn github_environment() -> ProgramEnvironment {
    let relevant = ["HOME", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy", "XDG_CONFIG_HOME"];
    variables(|name| relevant.contains(&name) || name.starts_with("GH_") || name.starts_with("GITHUB_"))
}

/// Returns the variables that name proxies, which apt reads.
pub fn proxy_environment() -> ProgramEnvironment {
    variables(|name| name.to_ascii_lowercase().ends_with("_proxy"))
}

/// Returns the whole environment, for ssh and pip: agents, and programs that the user's configuration calls, read
/// variables of their own.
pub fn whole_environment() -> ProgramEnvironment {
    variables(|_| true)
}

/// Returns the environment for cargo, without the variables that describe the package of this program. Build scripts
/// that read these would run again each time, and everything that depends on them would be compiled again.
pub fn environment_for_cargo() -> ProgramEnvironment {
    let of_package = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    variables(|name| !of_package(name))
}

/// Returns the `relevant` variables, sorted. Variables that are not UTF-8 are left out.
fn variables(relevant: impl Fn(&str) -> bool) -> ProgramEnvironment {
    let text = |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
    let mut variables: Vec<_> = env::vars_os().filter_map(text).filter(|(name, _)| relevant(name)).collect();
    variables.sort();
    ProgramEnvironment::inherited(variables)
}
