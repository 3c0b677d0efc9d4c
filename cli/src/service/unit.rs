//! A systemd unit.

use super::Job;
use std::{fmt::Write as _, path::Path};

/// By its first line a file is known to be ours.
pub(super) const MARK: &str = "# Written by `emailproxy service install`.";

/// What a unit of the machine is kept from. Values of Type=notify and the watchdog are in the body.
const HARDENING: &str = "\
NoNewPrivileges=yes
ProtectSystem=strict
PrivateTmp=yes
PrivateDevices=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
ProtectProc=invisible
ProcSubset=pid
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
RemoveIPC=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@resources
SystemCallErrorNumber=EPERM
UMask=0077
";

/// The same for a user's own unit: without what takes privileges (namespaces of mounts and the like), and without what a browser
/// that the proxy opens would inherit and could not start under.
const HARDENING_OF_A_USER: &str = "\
NoNewPrivileges=yes
LockPersonality=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
UMask=0077
";

/// The unit's text.
pub(super) fn text(job: &Job, system: bool) -> String {
    let mut unit = format!(
        "{MARK} Changes of your own belong into a drop-in: systemctl edit.\n\
         [Unit]\n\
         Description=OAuth 2.0 proxy for IMAP, POP and SMTP\n"
    );
    if system {
        unit.push_str(
            "Wants=network-online.target\nAfter=network-online.target nss-lookup.target\n",
        );
    }
    unit.push_str("\n[Service]\nType=notify\n");
    let command: Vec<String> = job.command.iter().map(|one| argument(one)).collect();
    let _ = writeln!(unit, "ExecStart={}", command.join(" "));
    // By the shell's own kill: /bin/kill need not be there.
    unit.push_str("ExecReload=/bin/sh -c \"kill -HUP $$MAINPID\"\n");
    let _ = writeln!(unit, "WorkingDirectory={}", specifiers(&job.folder));
    if let Some(user) = &job.user {
        let _ = writeln!(unit, "User={user}");
    }
    unit.push_str(
        "WatchdogSec=60\nRestart=on-failure\nRestartSec=5\n# A configuration that cannot be used does not get better by itself.\n\
         RestartPreventExitStatus=2\nTimeoutStopSec=30\n\n",
    );
    if !system {
        unit.push_str(HARDENING_OF_A_USER);
        unit.push_str("\n[Install]\nWantedBy=default.target\n");
        return unit;
    }
    // `emailproxy accounts` and `emailproxy authorise` reach it at a socket in there; its /tmp nobody else sees.
    unit.push_str("RuntimeDirectory=emailproxy\nRuntimeDirectoryMode=0700\n");
    unit.push_str(HARDENING);
    // What lies in a home can be read then, and written where ReadWritePaths says so.
    let home = if job.home { "read-only" } else { "yes" };
    let _ = writeln!(unit, "ProtectHome={home}");
    for folder in &job.writes {
        let _ = writeln!(unit, "ReadWritePaths={}", quoted(&specifiers(folder)));
    }
    let capability = if job.low_port {
        "CAP_NET_BIND_SERVICE"
    } else {
        ""
    };
    let _ = writeln!(unit, "CapabilityBoundingSet={capability}");
    let _ = writeln!(unit, "AmbientCapabilities={capability}");
    unit.push_str("\n[Install]\nWantedBy=multi-user.target\n");
    unit
}

/// One argument of a command line (systemd.service(5)): quoted, without specifiers and variables.
fn argument(text: &str) -> String {
    quoted(&text.replace('%', "%%").replace('$', "$$"))
}

fn specifiers(path: &Path) -> String {
    path.display().to_string().replace('%', "%%")
}

/// As it is where every character is an ordinary one.
fn quoted(text: &str) -> String {
    let ordinary = |c: char| c.is_ascii_alphanumeric() || "/._-:+@=,%$".contains(c);
    match text.chars().all(ordinary) && !text.is_empty() {
        true => text.to_owned(),
        false => format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job() -> Job {
        Job {
            command: [
                "/opt/e p/emailproxy",
                "--config-file",
                "/etc/50%/a$b.config",
            ]
            .map(str::to_owned)
            .to_vec(),
            folder: "/etc/50%".into(),
            writes: vec!["/var/lib/e p".into()],
            low_port: false,
            home: false,
            user: Some("1000".to_owned()),
        }
    }

    #[test]
    fn a_unit_of_the_machine_is_confined() {
        let text = text(&job(), true);
        for line in [
            "ExecStart=\"/opt/e p/emailproxy\" --config-file /etc/50%%/a$$b.config",
            "WorkingDirectory=/etc/50%%",
            "ReadWritePaths=\"/var/lib/e p\"",
            "ProtectSystem=strict",
            "ProtectHome=yes",
            "RuntimeDirectory=emailproxy",
            "User=1000",
            "AmbientCapabilities=",
            "WantedBy=multi-user.target",
        ] {
            assert!(text.lines().any(|one| one == line), "{line}:\n{text}");
        }
        let low = Job {
            low_port: true,
            home: true,
            ..job()
        };
        let text = super::text(&low, true);
        for line in [
            "AmbientCapabilities=CAP_NET_BIND_SERVICE",
            "CapabilityBoundingSet=CAP_NET_BIND_SERVICE",
            "ProtectHome=read-only",
        ] {
            assert!(text.lines().any(|one| one == line), "{line}:\n{text}");
        }
    }

    #[test]
    fn a_users_own_unit_needs_no_privileges() {
        let text = text(&job(), false);
        for line in [
            "NoNewPrivileges=yes",
            "WantedBy=default.target",
            "Type=notify",
        ] {
            assert!(text.lines().any(|one| one == line), "{line}:\n{text}");
        }
        for beginning in ["Capab", "Ambient", "ProtectSystem", "ReadWritePaths"] {
            assert!(
                !text.lines().any(|one| one.starts_with(beginning)),
                "{text}"
            );
        }
    }
}
