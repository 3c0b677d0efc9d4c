//! `emailproxy service`.

proxy_proto::texts! {
    /// The configuration cannot be served; why stands below.
    pub(crate) const NOTHING_TO_SERVE = "there is nothing to serve yet, so no service is installed:";

    /// Nobody could paste.
    pub(crate) const NO_TERMINAL =
        "--external-auth asks at a terminal, which a service has not: leave it out, and get approvals by `emailproxy authorise`";

    /// The service's file could not name it.
    pub(crate) fn own_path_unknown(why = "no such file or directory") =
        "the program's own path is not known: {why}";

    /// The service's file could not name it.
    pub(crate) fn bad_path(path = "/home/user/\u{fffd}") =
        "{path}: a service's file can only name paths that are UTF-8 without control characters";

    /// The service would run as root.
    pub(crate) fn belongs_to_root(config = "/etc/emailproxy/emailproxy.config") =
        "{config} belongs to root, and the service does not run as root: give it to a user of its own (useradd --system \
         emailproxy; chown emailproxy {config} and its folder), or name one who can read it with --run-as";

    /// Services of one's own stand in the home.
    pub(crate) const NO_HOME = "HOME is not set, so that it is not known where services of your own stand: set it, or give --system";

    /// The service's file is somebody else's.
    pub(crate) fn not_ours(path = "/etc/systemd/system/emailproxy.service") =
        "{path} is there and was not written by `emailproxy service install`: move it away first";

    /// The service's file is there.
    pub(crate) fn wrote(path = "/etc/systemd/system/emailproxy.service") =
        "wrote {path}";

    /// The service's file is no longer there.
    pub(crate) fn removed(path = "/etc/systemd/system/emailproxy.service") =
        "removed {path}";

    /// The service's file was not there.
    pub(crate) fn no_service(path = "/etc/systemd/system/emailproxy.service") =
        "no service is installed: there is no {path}";

    /// The system's own program is called.
    pub(crate) fn runs(command = "systemctl daemon-reload") =
        "runs {command}";

    /// It has failed.
    pub(crate) fn has_failed(command = "systemctl daemon-reload") =
        "{command} failed; what it said stands above";

    /// It is not there.
    pub(crate) fn no_program(program = "systemctl") =
        "there is no {program} here: start the proxy by whatever this system has for services; --dry-run prints what would have been \
         done";

    /// systemd runs it for the machine.
    pub(crate) fn installed(unit = "emailproxy.service") =
        "installed and started. Its log: journalctl -u {unit} -f; after a change of the configuration: systemctl reload {unit}";

    /// systemd runs it for the user.
    pub(crate) fn installed_for_user(unit = "emailproxy.service") =
        "installed and started. Its log: journalctl --user -u {unit} -f; after a change of the configuration: systemctl --user \
         reload {unit}";

    /// The same, and what many expect otherwise.
    pub(crate) const ENDS_WITH_LOGIN = "it ends when you log out, unless you allow it to stay: loginctl enable-linger";

    /// `uninstall` has succeeded.
    pub(crate) const REST_STAYS = "configuration and tokens stay where they are";

    /// Windows: the service begins later.
    pub(crate) const STARTS_AT_LOGIN = "it starts when you log in the next time";

    /// Windows: no service of the machine's.
    pub(crate) const ONLY_FOR_USERS =
        "on Windows only --user is supported: for a service of the machine use its Task Scheduler";
}
