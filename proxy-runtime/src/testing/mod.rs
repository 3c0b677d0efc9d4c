//! Tests that every runtime passes, and what they are made of. For `[dev-dependencies]` alone: everything in here panics
//! where a test fails.
//!
//! A runtime's crate implements [`Runtime`] for its own type and lists the tests with [`runtime_tests!`](crate::runtime_tests):
//!
//! ```ignore
//! proxy_runtime::runtime_tests!(super::Tested);
//! ```

mod certificates;
mod peers;
mod stage;
pub mod suite;

pub use certificates::{Authority, Leaf};
pub use peers::{Lines, Pattern, Peer};
pub use stage::{Accounts, Stage, USER};

use crate::{Bound, Counts, ListenError, ListenerConfig, OpenSession, Options, Stopped};
use proxy_proto::Authenticate;
use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

/// Far beyond what any step needs: only a hanging test meets it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A runtime as the tests see it; methods block.
pub trait Runtime: Send + Sync + Sized + 'static {
    /// See the runtimes' own.
    fn start(authenticate: Arc<dyn Authenticate>, options: Options) -> Self;
    /// See the runtimes' own.
    fn apply(&self, listeners: Vec<ListenerConfig>) -> Result<(), Vec<ListenError>>;
    /// See the runtimes' own.
    fn limit(&self, max_sessions: Option<usize>, max_sessions_per_address: Option<usize>);
    /// See the runtimes' own.
    fn listeners(&self) -> Vec<Bound>;
    /// See the runtimes' own.
    fn sessions(&self) -> usize;
    /// See the runtimes' own.
    fn counters(&self) -> Vec<(Arc<str>, Counts)>;
    /// See the runtimes' own.
    fn open_sessions(&self) -> Vec<OpenSession>;
    /// See the runtimes' own.
    fn shutdown(&self, deadline: Duration) -> Stopped;
}

/// Looks until it is so.
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < PATIENCE, "never so: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// One `#[test]` for each test of the suite, over the runtime `$runtime`.
#[macro_export]
macro_rules! runtime_tests {
    ($runtime:ty) => {
        $crate::runtime_tests! { $runtime:
            imap_from_greeting_to_end,
            pop_from_greeting_to_end,
            smtp_from_greeting_to_end,
            a_refused_login_leaves_the_session_usable,
            the_server_side_is_upgraded_by_starttls,
            the_client_side_speaks_tls_from_the_first_byte,
            the_client_side_is_upgraded_by_starttls,
            a_client_without_tls_on_a_tls_port_is_let_go,
            a_client_that_leaves_gives_up_its_request,
            a_client_that_leaves_while_connecting_is_noticed,
            a_server_that_leaves_during_consent_is_connected_anew,
            a_panic_ends_one_session_only,
            shutdown_says_farewell_before_login,
            shutdown_ends_an_unfinished_handshake,
            shutdown_cuts_off_a_relay_that_is_not_done,
            an_unreachable_server_is_told_to_the_client,
            a_silent_server_is_given_up,
            a_server_that_is_not_trusted_gets_no_session,
            a_server_whose_certificate_has_expired_gets_no_session,
            a_server_without_tls_is_told_to_the_client,
            tls_on_a_plaintext_port_is_let_go,
            mail_of_25_megabytes_arrives_whole,
            plain_both_ways_at_once,
            tls_upstream_both_ways_at_once,
            tls_on_both_sides_both_ways_at_once,
            half_close_is_passed_on_and_the_answer_still_arrives,
            a_reset_ends_the_other_side,
            a_slow_reader_holds_the_sender_back,
            a_slow_server_holds_its_client_back,
            bulk_transfers_let_others_have_their_turn,
            tls_sessions_with_servers_are_resumed,
            shutdown_drains_the_server_and_injects_nothing,
            an_end_without_close_notify_is_an_end,
            allow_from_turns_others_away,
            a_balancer_names_the_client,
            who_is_no_balancer_is_turned_away,
            a_balancer_without_a_header_is_turned_away,
            shutdown_ends_the_wait_for_a_header,
            allow_from_holds_for_whom_the_balancer_names,
            a_socks_proxy_is_gone_through,
            an_http_proxy_is_gone_through,
            a_proxy_that_refuses_is_told_to_the_client,
            certificates_change_and_sessions_stay,
            limits_of_listeners_hold,
            limits_change_while_running,
            the_default_address_takes_both_families,
            a_host_name_takes_all_its_addresses_with_one_port,
            a_port_in_use_is_named_and_nothing_changes,
            an_unknown_name_to_listen_on_is_named,
            configurations_that_cannot_work_are_refused_before_anything_is_bound,
            a_change_keeps_binds_and_closes,
            a_port_can_move_to_another_address,
            a_port_that_cannot_move_stays_where_it_was,
            clients_beyond_the_limit_are_turned_away_and_places_are_given_back,
            shutdown_closes_the_listeners,
            many_come_and_go_and_leave_nothing,
            changes_under_load_lose_no_session,
            a_client_that_never_logs_in_is_let_go,
            a_server_that_never_greets_is_given_up,
            a_consent_that_never_comes_ends,
            what_comes_behind_starttls_ends_the_session,
            a_server_that_stalls_within_a_record_stops_nothing,
            a_server_that_resets_ends_the_session,
            a_server_that_has_said_all_still_hears_its_client,
            a_server_with_a_certificate_for_another_name_gets_no_session,
            a_server_that_stalls_before_login_is_given_up,
            a_stalled_session_holds_up_nobody,
            a_client_that_vanishes_within_a_literal_is_gone,
            a_client_that_sends_a_byte_now_and_then_is_let_go,
            a_client_that_never_reads_before_login_is_let_go,
            shutdown_does_not_wait_for_a_client_that_never_reads,
            a_client_that_only_connects_is_let_go,
            a_server_that_never_stops_talking_is_left,
            others_that_come_and_go_leave_a_relay_alone,
            an_open_session_is_shown,
            what_happens_is_counted,
            troubles_are_counted,
            counters_survive_changes,
        }

        // The system tells a process of its descriptors.
        #[cfg(target_os = "linux")]
        #[test]
        fn descriptors_run_out_and_come_back() {
            // The name of this test for libtest is its path without the crate.
            let path = concat!(module_path!(), "::descriptors_run_out_and_come_back");
            let (_, path) = path.split_once("::").unwrap();
            $crate::testing::suite::descriptors_run_out_and_come_back::<$runtime>(path);
        }

        // The system tells of a process's memory.
        #[cfg(target_os = "linux")]
        #[test]
        fn ten_thousand_come_and_go_and_leave_nothing() {
            let path = concat!(module_path!(), "::ten_thousand_come_and_go_and_leave_nothing");
            let (_, path) = path.split_once("::").unwrap();
            $crate::testing::suite::ten_thousand_come_and_go_and_leave_nothing::<$runtime>(path);
        }
    };
    ($runtime:ty: $($test:ident,)*) => {
        $(
            #[test]
            fn $test() {
                $crate::testing::suite::$test::<$runtime>();
            }
        )*
    };
}
