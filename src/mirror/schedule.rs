//! Daily schedules for a mirror: text for systemd, for cron and for Synology's task scheduler. Installs nothing.

use super::record::Identity;
use crate::base::closed_set::closed_set;
use crate::base::quote::{Language, Unquotable};

closed_set! {
    /// Scheduler that runs the mirror.
    pub enum Scheduler {
        /// systemd service and timer.
        Systemd = "systemd",
        /// crontab line.
        Cron = "cron",
        /// Script for the task scheduler of Synology's DSM.
        Synology = "synology",
    }
}

/// Command to schedule.
#[derive(Debug, Clone)]
pub struct ScheduledJob {
    /// Identity of the mirror.
    pub identity: Identity,
    /// Program and arguments. All paths are absolute.
    pub command: Vec<String>,
    /// Exit code of a run that updates the mirror, if it differs from that of a run without changes.
    pub exit_code_on_update: Option<u8>,
}

impl ScheduledJob {
    /// Returns the text for `scheduler`.
    ///
    /// # Errors
    ///
    /// [`Unquotable`] if the scheduler's syntax cannot express a word of the command.
    pub fn text(&self, scheduler: Scheduler) -> Result<String, Unquotable> {
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

    fn systemd(&self) -> Result<String, Unquotable> {
        let title = self.title();
        let unit = format!("mirror-{}", title.replace(' ', "-"));
        let mut command = self.words(Language::UnitArgument)?;
        if let Some(program) = self.command.first() {
            command[0] = Language::UnitProgram.quote(program)?;
        }
        let command = command.join(" ");
        let success = self.exit_code_on_update.filter(|code| *code != 0);
        let success = success.map(|code| format!("SuccessExitStatus={code}\n")).unwrap_or_default();
        Ok(format!(
            "# /etc/systemd/system/{unit}.service\n[Unit]\nDescription=Mirror of {title}\nWants=network-online.target\n\
             After=network-online.target\n\n[Service]\nType=oneshot\nExecStart={command}\n{success}Nice=10\n\n\
             # /etc/systemd/system/{unit}.timer\n[Unit]\nDescription=Mirror of {title}, once a day\n\n[Timer]\n\
             OnCalendar=daily\nRandomizedDelaySec=2h\nPersistent=true\n\n[Install]\nWantedBy=timers.target\n",
        ))
    }

    /// cron mails a command's output: here, errors and the line that reports an update.
    fn cron(&self) -> Result<String, Unquotable> {
        let command = self.words(Language::Cron)?.join(" ");
        Ok(format!(
            "# {}, once a day; cron mails errors and updates\n17 4 * * * {command} | grep '\"changed\":true'\n",
            self.title()
        ))
    }

    /// Synology's task scheduler only sends mail if a command fails, so an update must look like a failure.
    fn synology(&self) -> Result<String, Unquotable> {
        let (title, command) = (self.title(), self.words(Language::Shell)?.join(" "));
        Ok(format!(
            "# Control Panel > Task Scheduler > Create > Scheduled Task > User-defined script; daily.\n# Task Settings: \
             \"Send run details only when the script terminates abnormally\".\n# An update of {title} ends with another \
             code than 0, so that it is mailed, too.\n{command}\n",
        ))
    }

    /// Returns the words of the command, each quoted for `language`.
    fn words(&self, language: Language) -> Result<Vec<String>, Unquotable> {
        self.command.iter().map(|word| language.quote(word)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(exit_code_on_update: Option<u8>) -> ScheduledJob {
        let command = ["/opt/x $y/xtask", "mirror", "fedora-coreos", "--dest", "/srv/100%$a"];
        ScheduledJob {
            identity: Identity { mirror: "fedora-coreos".into(), stream: "stable".into(), arch: "x86_64".into() },
            command: command.map(str::to_owned).into(),
            exit_code_on_update,
        }
    }

    #[test]
    fn systemd_gets_a_service_and_a_timer() {
        let text = job(Some(255)).text(Scheduler::Systemd).unwrap();
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
             ExecStart=\"/opt/x $y/xtask\" mirror fedora-coreos --dest /srv/100%%$$a\n\
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
        assert!(!job(None).text(Scheduler::Systemd).unwrap().contains("SuccessExitStatus"));
    }

    #[test]
    fn cron_gets_one_line_without_bare_percent_signs() {
        assert_eq!(
            job(None).text(Scheduler::Cron).unwrap(),
            "# fedora-coreos stable x86_64, once a day; cron mails errors and updates\n\
             17 4 * * * '/opt/x $y/xtask' mirror fedora-coreos --dest '/srv/100\\%$a' | grep '\"changed\":true'\n"
        );
    }

    #[test]
    fn synology_gets_a_script() {
        let text = job(Some(255)).text(Scheduler::Synology).unwrap();
        assert!(text.ends_with("\n'/opt/x $y/xtask' mirror fedora-coreos --dest '/srv/100%$a'\n"), "{text}");
    }

    #[test]
    fn a_line_break_does_not_get_into_a_unit_or_a_crontab() {
        for end in ["\nExecStartPost=/bin/sh", "\n* * * * * sh", "\r", "\u{1b}[A"] {
            for scheduler in Scheduler::ALL {
                let mut job = job(None);
                job.command.push(format!("/srv/a{end}"));
                let error = job.text(scheduler).unwrap_err().to_string();
                assert!(error.ends_with("wanted a value without control characters and line breaks"), "{error}");
            }
        }
    }
}
