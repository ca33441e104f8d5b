//! Protection from DNS rebinding: which `Host` a request may carry.
//!
//! A foreign page can point its own name at 127.0.0.1 once it is open. The browser then takes our answers for that page's own and
//! lets its scripts read them. The page cannot change the `Host` that the browser sends.

use std::net::{Ipv4Addr, Ipv6Addr};

use axum::http::uri::Authority;
use axum::http::{HeaderMap, header};

pub(super) const MISDIRECTED: &str = "the Host of this request is not a name of the loopback interface, where this daemon listens. \
Ask by http://127.0.0.1 or http://localhost with the daemon's port; a reverse proxy has to set Host to that. \
To allow any Host, start the daemon with --allow-remote, or with --web-config and a file with encryption and passwords\n";

/// Whether every `Host` is a loopback name or address, with any port. HTTP/1.0 has none, and no browser speaks it.
pub(super) fn are_loopback(headers: &HeaderMap) -> bool {
    headers.get_all(header::HOST).iter().all(|host| host.to_str().is_ok_and(is_loopback))
}

fn is_loopback(host: &str) -> bool {
    // No browser sends a user's name before `@`. The parser does not look at the port.
    let Some(authority) = host.parse::<Authority>().ok().filter(|authority| !authority.as_str().contains('@')) else {
        return false;
    };
    let (name, port) = authority.as_str().split_at(authority.host().len());
    if !port.is_empty() && !port.strip_prefix(':').is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_digit())) {
        return false;
    }
    if let Some(address) = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return address.parse().is_ok_and(|ip: Ipv6Addr| ip.to_canonical().is_loopback());
    }
    // Browsers and resolvers never look these names up in the network (RFC 6761).
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    name.parse().is_ok_and(|ip: Ipv4Addr| ip.is_loopback()) || name == "localhost" || name.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_and_addresses_of_the_loopback_interface_are_known() {
        let known = "localhost LocalHost:9752 localhost. localhost.:1 lab.localhost:80 localhost: 127.0.0.1 127.0.0.1:9752 \
                     127.255.3.4:1 [::1] [::1]:9752 [0:0:0:0:0:0:0:1]:9752 [::ffff:127.0.0.1]:9752";
        for host in known.split(' ') {
            assert!(is_loopback(host), "{host}");
        }
        let unknown = ":9752 example.org example.org:9752 localhost.example.org 127.0.0.1.example.org notlocalhost \
                       localhost@example.org example.org@localhost example.org:80:localhost localhost:80.example.org \
                       localhost/example.org 192.168.1.5:9752 0.0.0.0:9752 [::]:9752 [::2] [::1 [::1]example.org ::1 [127.0.0.1]";
        for host in unknown.split(' ').chain([""]) {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn none_is_fine_and_of_several_each_counts() {
        let headers = |hosts: &[&'static [u8]]| {
            let values = hosts.iter().filter_map(|host| HeaderValue::from_bytes(host).ok());
            values.map(|value| (header::HOST, value)).collect::<HeaderMap>()
        };
        assert!(are_loopback(&headers(&[])));
        assert!(are_loopback(&headers(&[b"localhost:9752"])));
        assert!(!are_loopback(&headers(&[b"example.org"])));
        assert!(!are_loopback(&headers(&[b"localhost\xff"])));
        let mut two = headers(&[b"localhost"]);
        two.append(header::HOST, HeaderValue::from_static("example.org"));
        assert!(!are_loopback(&two));
    }

    proptest! {
        #[test]
        fn any_host_is_survived_and_no_domain_passes(host in any::<String>(), domain in "[a-z0-9.:\\[\\]-]{0,12}\\.(org|com)(:[0-9]{1,5})?") {
            let _ = is_loopback(&host);
            prop_assert!(!is_loopback(&domain), "{}", domain);
        }
    }
}
