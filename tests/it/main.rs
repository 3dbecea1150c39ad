//! Everything that needs no browser and no proxy. One binary, a line a feature.

mod test_app;
mod google;
mod signing;
mod program;

mod identity;
mod policy;
mod signin;
mod redirect_post;
mod origins;
mod tokeninfo;
mod verify;
mod sessions;
mod session_cache;
mod id_token_bearer;
mod check;
mod return_to;
mod pages;
mod admin;
mod search;
mod signals;
mod limits;
mod refusals;
mod store;
mod settings;
mod server;
mod door;
mod listening;
mod head;
mod demo;
mod logs;
mod crash;
mod commands;
mod properties;
mod docs;
mod tidy;
