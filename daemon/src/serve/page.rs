//! The built-in page. Its files are part of the program, so it works without a network; headers keep browsers from loading anything
//! else.

use axum::extract::Path;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

struct File {
    name: &'static str,
    content_type: &'static str,
    content: &'static str,
}

macro_rules! files {
    ($($name:literal: $content_type:ident from $path:literal,)*) => {
        [$(File { name: $name, content_type: $content_type, content: include_str!(concat!("../../page/", $path)) }),*]
    };
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// The page itself comes first.
const FILES: [File; 16] = files! {
    "": HTML from "index.html",
    "style.css": CSS from "style.css",
    "icon.svg": SVG from "icon.svg",
    "main.js": JS from "main.js",
    "feed.js": JS from "feed.js",
    "history.js": JS from "history.js",
    "colours.js": JS from "colours.js",
    "units.js": JS from "units.js",
    "bar.js": JS from "bar.js",
    "core_map.js": JS from "core_map.js",
    "cores.js": JS from "cores.js",
    "charts.js": JS from "charts.js",
    "table.js": JS from "table.js",
    "uplot.js": JS from "vendor/uplot/uPlot.iife.min.js",
    "uplot.css": CSS from "vendor/uplot/uPlot.min.css",
    "uplot-licence.txt": TEXT from "vendor/uplot/LICENSE",
};

/// Set on every answer. The browser loads nothing from elsewhere, runs only our files, lets no other page frame or read this one,
/// and does not guess types.
pub(super) const HEADERS: [(HeaderName, HeaderValue); 5] = [
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; \
             form-action 'none'; frame-ancestors 'none'",
        ),
    ),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
];

pub(super) async fn index() -> Response {
    answer(&FILES[0])
}

pub(super) async fn file(Path(name): Path<String>) -> Response {
    let found = FILES.iter().skip(1).find(|file| file.name == name);
    found.map_or_else(|| (StatusCode::NOT_FOUND, "the page has no such file\n").into_response(), answer)
}

fn answer(file: &'static File) -> Response {
    // The next version of the daemon may have other files.
    ([(header::CONTENT_TYPE, file.content_type), (header::CACHE_CONTROL, "no-cache")], file.content).into_response()
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    /// Sums of the files in version 1.6.32 of the npm package uplot. To change the version, replace the files, these sums and the
    /// text of the README beside them.
    const UPLOT: [(&str, &str); 3] = [
        ("uplot.js", "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f"),
        ("uplot.css", "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04"),
        ("uplot-licence.txt", "8f989229699b4fe2f1a0432d0e9edc338a8a911e250e2d1b01ecd770a5f5b1bd"),
    ];

    fn ours() -> impl Iterator<Item = &'static File> {
        FILES.iter().filter(|file| !file.name.starts_with("uplot"))
    }

    #[test]
    fn the_library_is_the_published_one() {
        let sum = |file: &File| format!("{:x}", Sha256::digest(file.content));
        for (name, published) in UPLOT {
            assert_eq!(FILES.iter().find(|file| file.name == name).map(sum).as_deref(), Some(published), "{name}");
        }
    }

    #[test]
    fn nothing_is_loaded_from_elsewhere_and_no_text_becomes_markup() {
        for file in ours() {
            let all = "http: https: //cdn innerHTML outerHTML insertAdjacentHTML document.write eval( style=\" onclick=";
            for forbidden in all.split(' ') {
                let allowed = forbidden == "http:" && file.content_type == SVG;
                assert!(allowed || !file.content.contains(forbidden), "{} has {forbidden}", file.name);
            }
        }
    }

    #[test]
    fn every_file_that_is_asked_for_is_served_and_every_file_is_asked_for() {
        let asked: Vec<&str> = ours()
            .flat_map(|file| file.content.split(['"', '\'']).filter(|text| text.starts_with("page/") || text.starts_with("./")))
            .map(|path| path.trim_start_matches("page/").trim_start_matches("./"))
            .collect();
        for name in FILES.iter().skip(1).map(|file| file.name) {
            assert!(asked.contains(&name), "nothing asks for {name}");
        }
        for name in asked {
            assert!(FILES.iter().any(|file| file.name == name), "{name} is not served");
        }
    }
}
