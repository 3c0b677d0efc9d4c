//! By which names the console may be asked for.

use std::net::IpAddr;

/// The names in `Host` that are ours. A page elsewhere can let a name of its own point at this machine (DNS rebinding), but no IP
/// address and no `localhost`; so these are ours whatever the port is, which a tunnel or a container may have changed.
#[derive(Clone, Debug)]
pub(super) struct Hosts {
    /// Where we listen on the loopback alone, other addresses are not ours.
    pub(super) loopback_only: bool,
    /// The name in `console_address`.
    pub(super) name: Option<String>,
}

impl Hosts {
    /// Whether a `Host` header names us.
    pub(super) fn are_ours(&self, header: &str) -> bool {
        let Some(host) = without_port(header) else {
            return false;
        };
        let bare = host
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        if let Ok(address) = bare.unwrap_or(host).parse::<IpAddr>() {
            // brackets are for IPv6, and IPv6 is in brackets
            return address.is_ipv6() == bare.is_some()
                && (address.to_canonical().is_loopback() || !self.loopback_only);
        }
        host.eq_ignore_ascii_case("localhost")
            || self
                .name
                .as_ref()
                .is_some_and(|name| name.eq_ignore_ascii_case(host))
    }
}

/// The host of `host:port`; `None` where that is neither.
fn without_port(header: &str) -> Option<&str> {
    let end = match header.starts_with('[') {
        true => header.find(']')? + 1,
        false => header.find(':').unwrap_or(header.len()),
    };
    let (host, port) = header.split_at(end);
    let fits = match port.strip_prefix(':') {
        Some(digits) => digits.parse::<u16>().is_ok() && digits.bytes().all(|b| b.is_ascii_digit()),
        None => port.is_empty(),
    };
    (fits && !host.is_empty()).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(loopback_only: bool, name: Option<&str>) -> Hosts {
        Hosts {
            loopback_only,
            name: name.map(str::to_owned),
        }
    }

    #[test]
    fn loopback_is_ours_by_number_and_name() {
        for header in [
            "127.0.0.1",
            "127.0.0.1:8025",
            "127.1.2.3:1",
            "[::1]",
            "[::1]:8025",
            "localhost",
            "LOCALHOST:9",
        ] {
            assert!(hosts(true, None).are_ours(header), "{header}");
        }
    }

    #[test]
    fn names_of_others_are_not() {
        for header in [
            "",
            "evil.example",
            "evil.example:8025",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "user@127.0.0.1",
            "127.0.0.1:",
            "127.0.0.1:x",
            "127.0.0.1:+80",
            "127.0.0.1:8025/",
            "127.0.0.1 ",
            "::1",
            "[127.0.0.1]",
            "[::1",
            "[::1]x",
            "192.0.2.1:8025",
            "[2001:db8::1]",
            "2130706433",
        ] {
            assert!(!hosts(true, None).are_ours(header), "{header}");
        }
    }

    #[test]
    fn elsewhere_addresses_are_ours_and_the_name_that_was_given() {
        let elsewhere = hosts(false, Some("mail.example"));
        for header in [
            "192.0.2.1:8025",
            "[2001:db8::1]:8025",
            "mail.example:8025",
            "Mail.Example",
        ] {
            assert!(elsewhere.are_ours(header), "{header}");
        }
        assert!(!elsewhere.are_ours("other.mail.example"));
    }
}
