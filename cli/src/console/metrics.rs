//! The metrics, in Prometheus's text format (version 0.0.4). `docs/console.md` says what each of them means.

use crate::messages::{metrics as texts, sentence};
use oauth::authenticator::{self, AccountOverview, Standing};
use proxy_runtime_smol::{Counts, Outcomes};
use std::{
    fmt::{Display, Write},
    sync::Arc,
};

/// What is measured.
pub(super) struct Figures<'a> {
    pub(super) version: &'static str,
    /// When the proxy began to serve, in seconds since 1970.
    pub(super) since: u64,
    pub(super) servers: &'a [(Arc<str>, Counts)],
    pub(super) tokens: &'a authenticator::Counts,
    pub(super) accounts: &'a [AccountOverview],
    /// Consents that wait.
    pub(super) waiting: usize,
}

/// All of them as text. Names of accounts and clients are not among the labels.
pub(super) fn text(figures: &Figures<'_>) -> String {
    let mut metrics = Exposition::default();
    metrics
        .family("emailproxy_build_info", Kind::Gauge, texts::METRIC_BUILD)
        .sample(&[("version", figures.version)], 1);
    metrics
        .family(
            "process_start_time_seconds",
            Kind::Gauge,
            texts::METRIC_START,
        )
        .only(figures.since);
    of_servers(&mut metrics, figures.servers);
    of_tokens(&mut metrics, figures.tokens);
    let standing = |wanted: fn(&Standing) -> bool| {
        let accounts = figures.accounts.iter();
        accounts.filter(|account| wanted(&account.state)).count()
    };
    metrics
        .family("emailproxy_accounts", Kind::Gauge, texts::METRIC_ACCOUNTS)
        .sample(
            &[("state", "authorised")],
            standing(|state| matches!(state, Standing::Authorised { .. })),
        )
        .sample(
            &[("state", "unauthorised")],
            standing(|state| matches!(state, Standing::Unauthorised)),
        )
        .sample(
            &[("state", "waiting")],
            standing(|state| matches!(state, Standing::Waiting)),
        );
    metrics
        .family(
            "emailproxy_consents_waiting",
            Kind::Gauge,
            texts::METRIC_CONSENTS_WAITING,
        )
        .only(figures.waiting);
    metrics.0
}

fn of_servers(metrics: &mut Exposition, servers: &[(Arc<str>, Counts)]) {
    let mut each = |name, kind, help: &str, sample: &dyn Fn(&mut Family<'_>, &str, &Counts)| {
        let mut family = metrics.family(name, kind, help);
        for (heading, counts) in servers {
            sample(&mut family, heading, counts);
        }
    };
    each(
        "emailproxy_sessions",
        Kind::Gauge,
        texts::METRIC_SESSIONS,
        &|family, server, counts| {
            family.sample(&[("server", server)], counts.open);
        },
    );
    each(
        "emailproxy_sessions_total",
        Kind::Counter,
        texts::METRIC_SESSIONS_BEGUN,
        &|family, server, counts| {
            family.sample(&[("server", server)], counts.sessions);
        },
    );
    each(
        "emailproxy_clients_turned_away_total",
        Kind::Counter,
        texts::METRIC_TURNED_AWAY,
        &|family, server, counts| {
            let away = &counts.turned_away;
            for (reason, count) in [
                ("not_allowed", away.not_allowed),
                ("proxy_protocol", away.proxy_protocol),
                ("full", away.full),
                ("listener_full", away.listener_full),
                ("address_full", away.address_full),
                ("no_resources", away.no_resources),
            ] {
                family.sample(&[("server", server), ("reason", reason)], count);
            }
        },
    );
    each(
        "emailproxy_logins_total",
        Kind::Counter,
        texts::METRIC_LOGINS,
        &|family, server, counts| {
            let logins = &counts.logins;
            for (result, count) in [
                ("accepted", logins.accepted),
                ("refused", logins.refused),
                ("temporary", logins.temporary),
                ("abandoned", logins.abandoned),
            ] {
                family.sample(&[("server", server), ("result", result)], count);
            }
        },
    );
    each(
        "emailproxy_tls_handshakes_total",
        Kind::Counter,
        texts::METRIC_HANDSHAKES,
        &|family, server, counts| {
            for (with, outcomes) in [
                ("client", counts.tls_with_clients),
                ("server", counts.tls_with_servers),
            ] {
                for (result, count) in results(outcomes) {
                    family.sample(
                        &[("server", server), ("with", with), ("result", result)],
                        count,
                    );
                }
            }
        },
    );
    each(
        "emailproxy_upstream_connects_total",
        Kind::Counter,
        texts::METRIC_CONNECTS,
        &|family, server, counts| {
            for (result, count) in results(counts.connects) {
                family.sample(&[("server", server), ("result", result)], count);
            }
        },
    );
    each(
        "emailproxy_relayed_bytes_total",
        Kind::Counter,
        texts::METRIC_RELAYED,
        &|family, server, counts| {
            family
                .sample(&[("server", server), ("to", "client")], counts.to_clients)
                .sample(&[("server", server), ("to", "server")], counts.to_server);
        },
    );
    each(
        "emailproxy_session_defects_total",
        Kind::Counter,
        texts::METRIC_DEFECTS,
        &|family, server, counts| {
            family.sample(&[("server", server)], counts.defects);
        },
    );
}

fn results(outcomes: Outcomes) -> [(&'static str, u64); 2] {
    [("ok", outcomes.ok), ("failed", outcomes.failed)]
}

fn of_tokens(metrics: &mut Exposition, counts: &authenticator::Counts) {
    let requests = &counts.token_requests;
    let mut family = metrics.family(
        "emailproxy_token_requests_total",
        Kind::Counter,
        texts::METRIC_TOKEN_REQUESTS,
    );
    for (result, count) in [
        ("granted", requests.granted),
        ("ended", requests.ended),
        ("refused", requests.refused),
        ("pending", requests.pending),
        ("failed", requests.failed),
    ] {
        family.sample(&[("result", result)], count);
    }
    let time = &requests.time;
    let buckets = time.buckets.iter();
    metrics
        .family(
            "emailproxy_token_request_duration_seconds",
            Kind::Histogram,
            texts::METRIC_TOKEN_TIMES,
        )
        .histogram(
            buckets.map(|(bound, within)| (bound.as_secs_f64(), *within)),
            time.count,
            time.sum.as_secs_f64(),
        );
    let consents = &counts.consents;
    metrics
        .family(
            "emailproxy_consents_total",
            Kind::Counter,
            texts::METRIC_CONSENTS,
        )
        .sample(&[("result", "granted")], consents.granted)
        .sample(&[("result", "denied")], consents.denied)
        .sample(&[("result", "failed")], consents.failed);
    metrics
        .family(
            "emailproxy_store_errors_total",
            Kind::Counter,
            texts::METRIC_STORE_ERRORS,
        )
        .only(counts.store_errors);
}

/// Families one after the other, each with its samples.
#[derive(Default)]
struct Exposition(String);

/// What a family's numbers are.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts by upper bound.
    Histogram,
}

impl Exposition {
    /// Begins a family. All its samples have to follow at once.
    fn family(&mut self, name: &'static str, kind: Kind, help: &str) -> Family<'_> {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let help = sentence(help);
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
        Family {
            text: &mut self.0,
            name,
        }
    }
}

/// A family that is being written.
struct Family<'a> {
    text: &'a mut String,
    name: &'static str,
}

impl Family<'_> {
    /// A sample without labels.
    fn only(self, value: impl Display) {
        let mut family = self;
        family.sample(&[], value);
    }

    /// A sample with these labels.
    fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) -> &mut Self {
        self.line("", labels, value)
    }

    /// The samples of a histogram: upper bounds in seconds with how many are within (cumulative), how many there are in all, and
    /// their sum.
    fn histogram(
        &mut self,
        buckets: impl Iterator<Item = (f64, u64)>,
        count: u64,
        sum: f64,
    ) -> &mut Self {
        for (bound, within) in buckets {
            self.line("_bucket", &[("le", &bound.to_string())], within);
        }
        self.line("_bucket", &[("le", "+Inf")], count);
        self.line("_sum", &[], sum);
        self.line("_count", &[], count)
    }

    fn line(&mut self, suffix: &str, labels: &[(&str, &str)], value: impl Display) -> &mut Self {
        let _ = write!(self.text, "{}{suffix}", self.name);
        for (index, (name, value)) in labels.iter().enumerate() {
            let before = if index == 0 { '{' } else { ',' };
            let _ = write!(self.text, "{before}{name}=\"{}\"", escaped(value));
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        let _ = writeln!(self.text, " {value}");
        self
    }
}

fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_written_as_prometheus_reads_them() {
        let mut metrics = Exposition::default();
        metrics
            .family("a_total", Kind::Counter, "What is counted.")
            .only(3);
        metrics
            .family("b", Kind::Gauge, "Now.")
            .sample(&[("x", "1"), ("y", "q\"\\\n")], 0.5)
            .sample(&[("x", "2")], 7);
        metrics
            .family("c_seconds", Kind::Histogram, "Times.")
            .histogram([(0.05, 1), (2.5, 3)].into_iter(), 4, 9.25);
        assert_eq!(
            metrics.0,
            "# HELP a_total What is counted.\n# TYPE a_total counter\na_total 3\n\
             # HELP b Now.\n# TYPE b gauge\nb{x=\"1\",y=\"q\\\"\\\\\\n\"} 0.5\nb{x=\"2\"} 7\n\
             # HELP c_seconds Times.\n# TYPE c_seconds histogram\n\
             c_seconds_bucket{le=\"0.05\"} 1\nc_seconds_bucket{le=\"2.5\"} 3\nc_seconds_bucket{le=\"+Inf\"} 4\n\
             c_seconds_sum 9.25\nc_seconds_count 4\n"
        );
    }
}
