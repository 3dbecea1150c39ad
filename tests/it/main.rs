//! Tests that need no browser and no proxy: one binary, and one line per feature.

#![allow(clippy::unwrap_used)]

mod engine;
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
mod network;
mod verify;
mod google_events;
mod sessions;
mod cookies;
mod event_posts;
mod session_cache;
mod session_limit;
mod id_token_bearer;
mod basic;
mod tokens;
mod usernames;
mod check;
mod assertion;
mod return_to;
mod pages;
mod admin;
mod admin_user;
mod admin_allowed;
mod allowed;
mod search;
mod signals;
mod languages;
mod limits;
mod refusals;
mod store;
mod settings;
mod settings_file;
mod server;
mod door;
mod listening;
mod service_manager;
mod head;
mod tiny_http;
mod demo;
mod logs;
mod crash;
mod commands;
mod properties;
#[cfg(feature = "postgres")]
mod postgres;
mod docs;
mod tidy;
