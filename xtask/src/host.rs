//! The environment of this process, read once and handed on as values.

use std::env;
use std::ffi::OsString;
use std::sync::OnceLock;

use camino::{Utf8DirEntry, Utf8Path, Utf8PathBuf};
use netboot_loaders::base::fs::Lock;
use netboot_loaders::base::http::{HttpClient, NetworkAccess, NoProxy, Proxy, TransferLimits};
use netboot_loaders::base::paths::{Cache, ProjectPaths, is_partial};
use netboot_loaders::base::process::{Command, find_program, quoted};
use netboot_loaders::base::progress::Progress;
use netboot_loaders::base::url::Url;
use netboot_loaders::build::BuildContext;
use netboot_loaders::build::make::{Launcher, MakeEnvironment, Settings};
use netboot_loaders::build::plan::Plan;
use netboot_loaders::clean;
use netboot_loaders::fetch::git::local_path;
use netboot_loaders::fetch::origins::Origins;
use netboot_loaders::printable::{is_harmful, printable};
use netboot_loaders::tree::enclosing::outside_trees;

use crate::cli::{Global, MakeArgs, OriginArgs};
use crate::exit::Failure;
use crate::program;
use crate::ui::Ui;
use netboot_loaders::base::diagnostic::{Class, Diagnostic, Flag, Help, Subcommand};

/// The first argument of the process that fetches from a git server.
pub const GIT_HELPER: &str = "__git-helper";
/// What certificates and host names are looked up by.
const GIT_ENVIRONMENT: [&str; 4] = ["SSL_CERT_FILE", "SSL_CERT_DIR", "RES_OPTIONS", "LOCALDOMAIN"];

/// The variables whose values name paths and addresses, which messages show.
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

/// Refuses arguments, variables and a current folder whose text could pass for another line of a message, steer a
/// terminal, or show in another order. Whatever messages say of them later needs no escape.
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

/// Refuses `text`, which messages call `subject`, where it is not one line as it is seen.
fn check_text(text: &str, class: Class, subject: &str, help: impl Into<Help>) -> Result<(), Failure> {
    // Persian and Hindi words and pictures are written with these two; messages escape them.
    let joins = |character: char| matches!(character, '\u{200c}' | '\u{200d}');
    let Some(character) = text.chars().find(|character| is_harmful(*character) && !joins(*character)) else {
        return Ok(());
    };
    let text = format!(
        "{subject} has `{}`, wanted one line without control characters and without characters that are not seen or \
         change the direction of text",
        printable(character.encode_utf8(&mut [0; 4]))
    );
    Err(Failure::new(class, text).help(help))
}

/// Where and with what this process works.
pub struct Host<'u> {
    /// The project.
    pub project: ProjectPaths,
    cache_dir: Option<Utf8PathBuf>,
    /// Held for as long as this process may use the cache.
    cache_lock: OnceLock<Lock>,
    /// `PATH`.
    pub path: String,
    /// How it says what happens.
    pub ui: &'u Ui,
}

impl<'u> Host<'u> {
    /// Reads the environment. `global` goes first.
    pub fn new(global: &Global, ui: &'u Ui) -> Result<Self, Failure> {
        let project = match (&global.project, variable("CARGO_MANIFEST_DIR").filter(|_| program::is_alias())) {
            (Some(folder), _) => absolute(folder)?,
            (None, Some(xtask)) => Utf8PathBuf::from(xtask).parent().map(ToOwned::to_owned).unwrap_or_default(),
            (None, None) => absolute(Utf8Path::new("."))?,
        };
        let path = variable("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
        // Relative folders would mean another place for make, which runs elsewhere.
        let path = path.split(':').filter(|folder| folder.starts_with('/')).collect::<Vec<_>>().join(":");
        let cache_dir = global.cache_dir.clone().filter(|folder| !folder.as_str().is_empty());
        Ok(Self { project: ProjectPaths::new(project), cache_dir, cache_lock: OnceLock::new(), path, ui })
    }

    /// The cache, from which nobody removes anything while this process lives.
    pub fn cache(&self) -> Result<Cache, Failure> {
        let cache = self.unlocked_cache()?;
        if self.cache_lock.get().is_none() {
            match Lock::share(&cache.use_lock(), self.ui) {
                Ok(Some(lock)) => drop(self.cache_lock.set(lock)),
                Ok(None) => return Err(Failure::new(Class::Interrupted, "interrupted while waiting for the cache")),
                // Where nothing can be written, nobody removes anything either; what needs to write says so.
                Err(_) => {}
            }
        }
        Ok(cache)
    }

    /// The cache, by its real path: the compiler sees through links, and must be told the same path
    /// that it sees.
    pub fn unlocked_cache(&self) -> Result<Cache, Failure> {
        let folder = self.cache_folder()?;
        outside_trees(&folder)?;
        netboot_loaders::base::fs::create_dir_all(&folder)?;
        let folder = folder.canonicalize_utf8()?;
        check_text(folder.as_str(), Class::BadInput, &format!("the cache `{}`", printable(&folder)), Flag::CacheDir)?;
        let cache = Cache::new(folder);
        // In a folder that somebody chose, others may have files. Where nothing can be written, what needs to says so.
        let is_new = |entry: std::io::Result<Utf8DirEntry>| {
            entry.is_ok_and(|entry| is_partial(entry.file_name()) || entry.file_name() == "lost+found")
        };
        if self.is_users_cache() || cache.root().read_dir_utf8().is_ok_and(|mut entries| entries.all(is_new)) {
            let _ = clean::tag(&cache);
        }
        Ok(cache)
    }

    /// Whether the cache is in the folder that has this tool's name, and nobody chose another.
    pub fn is_users_cache(&self) -> bool {
        self.cache_dir.is_none()
    }

    /// Where the cache is, or is going to be.
    pub fn cache_folder(&self) -> Result<Utf8PathBuf, Failure> {
        self.cache_dir.as_deref().map_or_else(user_cache, absolute)
    }

    /// Adds the remedy where a path cannot be written: it depends on what the path is for. `output` is the option of
    /// the command that names where it writes, and what it names.
    pub fn with_storage_hint(&self, mut failure: Failure, output: Option<(Flag, Option<Utf8PathBuf>)>) -> Failure {
        let Some((path, full)) = failure.unwritable.take() else { return failure };
        let is_in = |folder: &Utf8Path| path.starts_with(folder);
        let in_cache =
            |folder: Utf8PathBuf| is_in(&folder) || folder.canonicalize_utf8().is_ok_and(|real| is_in(&real));
        let temporary = temporary_folder().unwrap_or_default();
        // What was asked for may lie in the folder for temporary files, too.
        let named = output.as_ref().and_then(|(_, named)| absolute(named.as_deref()?).ok());
        let named = named.iter().filter_map(|path| path.parent()).chain([self.project.root()]);
        let chosen = named.filter(|folder| folder.starts_with(&temporary)).any(is_in);
        let (folder, other) = if self.cache_folder().is_ok_and(in_cache) {
            (path.parent(), Some(Flag::CacheDir.into()))
        } else if is_in(&temporary) && !chosen {
            (Some(&*temporary), Some(Help::from("choose another folder with the variable `TMPDIR`")))
        } else {
            (path.parent(), output.map(|(flag, _)| flag.into()))
        };
        let folder = folder.unwrap_or(&path);
        let remedy = if full {
            format!("free space on the file system of `{folder}`")
        } else {
            format!("make `{folder}` writable")
        };
        failure.diagnosis.help.splice(0..0, std::iter::once(remedy.into()).chain(other));
        failure
    }

    /// The client for the web, through the proxy that the environment names.
    pub fn http(&self) -> Result<HttpClient, Failure> {
        let proxy = self.proxy();
        let mut http = HttpClient::new(proxy.as_ref(), TransferLimits::default())?;
        let environment = variables(|name| GIT_ENVIRONMENT.contains(&name));
        let helper = Command::new("fetch from a git server", own_program()?).args([GIT_HELPER]);
        http.git_helper = Some(Box::new(Command { env: environment, ..helper }));
        Ok(http)
    }

    /// The proxy that curl would use for https.
    fn proxy(&self) -> Option<Proxy> {
        let first = |names: &[&str]| names.iter().find_map(|name| Some(((*name).to_owned(), variable(name)?)));
        let (name, url) = first(&["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"])?;
        let (list, except) = first(&["no_proxy", "NO_PROXY"]).unwrap_or_default();
        let (except, unknown) = NoProxy::parse(&except);
        for entry in unknown {
            let message = format!(
                "`{list}` has `{}`, which does not count: it is neither a name nor an IP address nor a subnet",
                Url::from(entry)
            );
            let help = "write it as in `example.org`, `192.0.2.7`, `10.0.0.0/8`, `fd00::/8` or `*`";
            self.ui.warn(Diagnostic::new(message).help(help));
        }
        Some(Proxy { url: Url::from(url), variable: name, except })
    }

    /// The tree or the tarball that was named, or the project's own, which has to be there.
    pub fn tree(&self, named: Option<&Utf8Path>) -> Result<Utf8PathBuf, Failure> {
        let path = named.map_or_else(|| self.project.default_tree(), Utf8Path::to_owned);
        let help = named.map_or(Help::Run(Subcommand::BuildLoaders), |_| {
            "check the path; it is relative to the current folder".into()
        });
        let missing = || Failure::new(Class::DamagedTree, format!("there is no tree `{path}`")).help(help);
        if path.exists() { Ok(path) } else { Err(missing()) }
    }

    /// Where inputs may come from.
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
            bundle: args.sources_from.as_deref().map(absolute).transpose()?,
        })
    }

    /// How make runs.
    ///
    /// # Errors
    ///
    /// Where there is no such launcher.
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

    /// How loaders of `plan` are made, with sources and bases in one cache.
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

fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

/// A path that stays right wherever a command runs.
pub fn absolute(path: &Utf8Path) -> Result<Utf8PathBuf, Failure> {
    let absolute = camino::absolute_utf8(path);
    absolute.map_err(|error| {
        Failure::new(Class::Failure, format!("cannot find the folder of `{path}`\n  caused by: {error}"))
    })
}

/// The program that this process runs.
pub fn own_program() -> Result<Utf8PathBuf, Failure> {
    let path = env::current_exe()?;
    Utf8PathBuf::from_path_buf(path)
        .map_err(|path| Failure::new(Class::BadInput, format!("`{}` is not UTF-8", path.display())).help("move it"))
}

/// The command that this process was started with, without `switch`, as a person types it.
pub fn own_command_without(switch: &str) -> String {
    let words = env::args_os().skip(1).filter(|word| word != switch);
    words.fold(program::name().to_owned(), |command, word| command + " " + &quoted(&word.to_string_lossy()))
}

/// How many processors this process may use.
pub fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// The folder for temporary files.
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

/// What compiler launchers are configured by.
fn launcher_environment() -> Vec<(String, String)> {
    variables(|name| name == "HOME" || ["CCACHE_", "SCCACHE_", "DISTCC_"].iter().any(|prefix| name.starts_with(prefix)))
}

/// What GitHub's command line program goes by.
pub fn github_environment() -> Vec<(String, String)> {
    let relevant = ["HOME", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy", "XDG_CONFIG_HOME"];
    variables(|name| relevant.contains(&name) || name.starts_with("GH_") || name.starts_with("GITHUB_"))
}

/// What ssh and pip go by: all of it, since agents, and what a person's configuration calls, have variables of their
/// own.
pub fn whole_environment() -> Vec<(String, String)> {
    variables(|_| true)
}

/// The environment for cargo: without what the cargo that runs this program says of its package. Build scripts that look
/// at it would run again each time, and all that depends on them be compiled again.
pub fn environment_for_cargo() -> Vec<(String, String)> {
    let of_package = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    whole_environment().into_iter().filter(|(name, _)| !of_package(name)).collect()
}

/// The variables that are `relevant`. One that is not UTF-8 is none of these.
fn variables(relevant: impl Fn(&str) -> bool) -> Vec<(String, String)> {
    let text = |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
    let mut variables: Vec<_> = env::vars_os().filter_map(text).filter(|(name, _)| relevant(name)).collect();
    variables.sort();
    variables
}
