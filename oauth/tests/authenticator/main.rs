//! The authenticator with a scripted provider, a store in memory, a user that is a channel, and a clock that stands still.

mod ahead;
mod catch_alls;
mod failures;
mod flights;
mod flows;
mod http;
mod logs;
mod overview;
mod passwords;
mod python;
mod races;
mod rekey;
mod saved;
mod wire;
mod world;
