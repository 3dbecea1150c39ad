//! What the machine gives us: descriptors, and a certificate.

use spki::der::asn1::{AnyRef, GeneralizedTime, UtcTime};
use spki::der::{self, Decode, Reader, SliceReader, Tag, TagMode, TagNumber};
use url::Url;

use crate::cli::output::report::Finding;
use crate::cli::output::time::{local, span};
use crate::cli::serve::DESCRIPTORS_BESIDE_CONNECTIONS;
use crate::clock;
use crate::config::ServeOptions;
use crate::http::door::{Capacity, TlsFiles};
use crate::process;

/// Those who renew certificates by themselves do it about a month before.
const CERTIFICATE_SECONDS_LEFT: i64 = 14 * 24 * 60 * 60;

/// The limit of descriptors has room for the connections that are wanted.
pub fn descriptors(serve: &ServeOptions) -> Finding {
    const CHECK: &str = "descriptors";
    let Some((soft, hard)) = process::descriptor_limits() else {
        return Finding::warning(CHECK, "the limit cannot be read", "look at `ulimit -n`");
    };
    let wanted = u64::from(serve.max_connections) + DESCRIPTORS_BESIDE_CONNECTIONS;
    // The server raises its soft limit so far.
    let limit = soft.max(wanted.min(hard));
    let capacity = Capacity::within(
        serve.max_connections as usize,
        usize::try_from(limit).unwrap_or(usize::MAX),
    );
    if capacity.connections < serve.max_connections as usize {
        return Finding::warning(
            CHECK,
            format!(
                "the limit of {limit} has room for {} connections, not {}",
                capacity.connections, serve.max_connections
            ),
            format!(
                "raise the hard limit to {wanted} (LimitNOFILE= of systemd), or lower --max-connections"
            ),
        );
    }
    Finding::ok(CHECK, format!("room for {} connections", capacity.connections))
}

/// The certificate, if there is one, is good today, for the public URL, and has its key.
pub fn certificate(serve: &ServeOptions, public_url: &Url) -> Option<Finding> {
    const CHECK: &str = "certificate";
    const RENEW: &str = "renew it; the server takes up the new files by itself";
    let files = TlsFiles { certificate: serve.tls_cert.clone()?, key: serve.tls_key.clone()? };
    let host = public_url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let chain = match files.examine(host) {
        Ok(chain) => chain,
        Err(error) => {
            return Some(Finding::failure(
                CHECK,
                error.to_string(),
                "give the certificate's chain and its key, in PEM",
            ));
        }
    };
    let validities = chain.certificates.iter().map(|certificate| validity(certificate));
    let Ok(validities) = validities.collect::<Result<Vec<_>, _>>() else {
        return Some(Finding::failure(CHECK, "its dates cannot be read", RENEW));
    };
    let now = clock::now();
    let from = validities.iter().map(|[from, _]| *from).max().unwrap_or(now);
    let until = validities.iter().map(|[_, until]| *until).min().unwrap_or(now);
    let shown = format!("{} ({})", local(until), span(until, now));
    Some(if until <= now {
        Finding::failure(CHECK, format!("expired {shown}"), RENEW)
    } else if from > now {
        Finding::failure(
            CHECK,
            format!("good only from {} on", local(from)),
            "wait, or look at this machine's clock",
        )
    } else if !chain.is_for_host {
        Finding::failure(
            CHECK,
            format!("is not for {host}"),
            "get one with the public URL's host in it",
        )
    } else if until - now < CERTIFICATE_SECONDS_LEFT {
        Finding::warning(CHECK, format!("expires {shown}"), RENEW)
    } else {
        Finding::ok(CHECK, format!("for {host}, good until {shown}"))
    })
}

/// From when to when a certificate is good, in unix seconds (RFC 5280, section 4.1).
fn validity(certificate: &[u8]) -> der::Result<[i64; 2]> {
    let mut fields = inside(&mut inside(&mut SliceReader::new(certificate)?)?)?;
    let _version: Option<u8> = fields.context_specific(TagNumber(0), TagMode::Explicit)?;
    let [_serial_number, _signature, _issuer] =
        [AnyRef::decode(&mut fields)?, AnyRef::decode(&mut fields)?, AnyRef::decode(&mut fields)?];
    let mut times = inside(&mut fields)?;
    Ok([time(&mut times)?, time(&mut times)?])
}

fn inside<'a>(reader: &mut SliceReader<'a>) -> der::Result<SliceReader<'a>> {
    SliceReader::new(AnyRef::decode(reader)?.value())
}

fn time(reader: &mut SliceReader) -> der::Result<i64> {
    let since_1970 = match Tag::peek(reader)? {
        Tag::UtcTime => UtcTime::decode(reader)?.to_unix_duration(),
        _ => GeneralizedTime::decode(reader)?.to_unix_duration(),
    };
    Ok(since_1970.as_secs() as i64)
}
