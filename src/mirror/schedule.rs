//! What runs a mirror once a day: text for systemd, for cron and for Synology's task scheduler. Nothing is
//! installed.

use super::names::names;
use super::record::Identity;
use crate::process::quoted;

names! {
    /// Who runs it.
    Scheduler {
        /// A service and a timer of systemd.
        Systemd = "systemd",
        /// A line for a crontab.
        Cron = "cron",
        /// A script for the task scheduler of Synology's DSM.
        Synology = "synology",
    }
}

/// What is to be run.
#[derive(Debug, Clone)]
pub struct Job {
    /// What is mirrored.
    pub identity: Identity,
    /// The program and its arguments, each path absolute.
    pub command: Vec<String>,
    /// The exit code of an update, where it is to differ from that of doing nothing.
    pub exit_code_on_update: Option<u8>,
}

impl Job {
    /// The text for `scheduler`.
    #[must_use]
    pub fn text(&self, scheduler: Scheduler) -> String {
        match scheduler {
            Scheduler::Systemd => self.systemd(),
            Scheduler::Cron => self.cron(),
            Scheduler::Synology => self.synology(),
        }
    }

    fn title(&self) -> String {
        let Identity { mirror, stream, arch } = &self.identity;
        format!("{mirror} {stream} {arch}")
    }

    fn systemd(&self) -> String {
        let title = self.title();
        let unit = format!("mirror-{}", title.replace(' ', "-"));
        let words: Vec<String> = self.command.iter().map(|word| systemd_quoted(word)).collect();
        let success = self.exit_code_on_update.filter(|code| *code != 0);
        let success = success.map(|code| format!("SuccessExitStatus={code}\n")).unwrap_or_default();
        format!(
            "# /etc/systemd/system/{unit}.service\n[Unit]\nDescription=Mirror of {title}\nWants=network-online.target\n\
             After=network-online.target\n\n[Service]\nType=oneshot\nExecStart={}\n{success}Nice=10\n\n\
             # /etc/systemd/system/{unit}.timer\n[Unit]\nDescription=Mirror of {title}, once a day\n\n[Timer]\n\
             OnCalendar=daily\nRandomizedDelaySec=2h\nPersistent=true\n\n[Install]\nWantedBy=timers.target\n",
            words.join(" ")
        )
    }

    /// cron mails what a command prints: here, errors, and the line that tells of an update.
    fn cron(&self) -> String {
        let command = self.shell().replace('%', "\\%");
        format!(
            "# {}, once a day; cron mails errors and updates\n17 4 * * * {command} | grep '\"changed\":true'\n",
            self.title()
        )
    }

    /// That task scheduler mails where a command fails, so an update has to look like a failure.
    fn synology(&self) -> String {
        let more =
            if self.exit_code_on_update.is_none() { " --exit-code-on-update 255".to_owned() } else { String::new() };
        let title = self.title();
        format!(
            "# Control Panel > Task Scheduler > Create > Scheduled Task > User-defined script; daily.\n# Task Settings: \
             \"Send run details only when the script terminates abnormally\".\n# An update of {title} ends with another \
             code than 0, so that it is mailed, too.\n{}{more}\n",
            self.shell()
        )
    }

    fn shell(&self) -> String {
        self.command.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
    }
}

/// `word` as systemd takes it for one word, without specifiers and variables.
fn systemd_quoted(word: &str) -> String {
    let escaped = word.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%").replace('$', "$$");
    let plain = escaped.chars().all(|c| c.is_ascii_alphanumeric() || "-_./:=,+@%$".contains(c));
    if plain && !escaped.is_empty() { escaped } else { format!("\"{escaped}\"") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(exit_code_on_update: Option<u8>) -> Job {
        let command = ["/opt/x y/xtask", "mirror", "fedora-coreos", "--dest", "/srv/100%$a"];
        Job {
            identity: Identity { mirror: "fedora-coreos".into(), stream: "stable".into(), arch: "x86_64".into() },
            command: command.map(str::to_owned).into(),
            exit_code_on_update,
        }
    }

    #[test]
    fn systemd_gets_a_service_and_a_timer() {
        let text = job(Some(255)).text(Scheduler::Systemd);
        assert_eq!(
            text,
            "# /etc/systemd/system/mirror-fedora-coreos-stable-x86_64.service\n\
             [Unit]\n\
             Description=Mirror of fedora-coreos stable x86_64\n\
             Wants=network-online.target\n\
             After=network-online.target\n\
             \n\
             [Service]\n\
             Type=oneshot\n\
             ExecStart=\"/opt/x y/xtask\" mirror fedora-coreos --dest /srv/100%%$$a\n\
             SuccessExitStatus=255\n\
             Nice=10\n\
             \n\
             # /etc/systemd/system/mirror-fedora-coreos-stable-x86_64.timer\n\
             [Unit]\n\
             Description=Mirror of fedora-coreos stable x86_64, once a day\n\
             \n\
             [Timer]\n\
             OnCalendar=daily\n\
             RandomizedDelaySec=2h\n\
             Persistent=true\n\
             \n\
             [Install]\n\
             WantedBy=timers.target\n"
        );
        assert!(!job(None).text(Scheduler::Systemd).contains("SuccessExitStatus"));
        assert_eq!(systemd_quoted("a\\\"b"), r#""a\\\"b""#);
    }

    #[test]
    fn cron_gets_one_line_without_bare_percent_signs() {
        assert_eq!(
            job(None).text(Scheduler::Cron),
            "# fedora-coreos stable x86_64, once a day; cron mails errors and updates\n\
             17 4 * * * '/opt/x y/xtask' mirror fedora-coreos --dest '/srv/100\\%$a' | grep '\"changed\":true'\n"
        );
    }

    #[test]
    fn synology_is_told_of_updates_as_failures() {
        let last = |code| job(code).text(Scheduler::Synology).lines().last().unwrap().to_owned();
        assert!(last(None).ends_with(" --dest '/srv/100%$a' --exit-code-on-update 255"));
        assert!(last(Some(7)).ends_with(" --dest '/srv/100%$a'"));
    }
}
