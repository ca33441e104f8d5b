//! Places, names and links.

use std::collections::BTreeSet;

use super::{dashboards, name, panels};
use crate::dashboard::TAG;

#[test]
fn panels_have_numbers_of_their_own_and_do_not_overlap() {
    for dashboard in dashboards() {
        let all = panels(&dashboard);
        let ids: BTreeSet<u64> = all.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
        assert_eq!(ids.len(), all.len());
        let mut cells = BTreeSet::new();
        for panel in all {
            let at = |key: &str| panel["gridPos"][key].as_u64().unwrap();
            assert!(at("x") + at("w") <= 24, "{}", name(&dashboard, panel));
            for cell in (at("x")..at("x") + at("w")).flat_map(|x| (at("y")..at("y") + at("h")).map(move |y| (x, y))) {
                assert!(cells.insert(cell), "{} lies on another panel", name(&dashboard, panel));
            }
        }
    }
}

#[test]
fn lines_of_panels_are_full_and_even() {
    for dashboard in dashboards() {
        let mut lines = std::collections::BTreeMap::<u64, Vec<(u64, u64)>>::new();
        for panel in panels(&dashboard).into_iter().filter(|panel| panel.get("repeat").is_none()) {
            let at = |key: &str| panel["gridPos"][key].as_u64().unwrap();
            lines.entry(at("y")).or_default().push((at("w"), at("h")));
        }
        for (y, line) in lines {
            let width: u64 = line.iter().map(|(width, _)| width).sum();
            assert!(width == 24 || line.len() == 1, "{}: the line at {y} is {width} wide", dashboard["title"]);
            assert!(line.iter().all(|(_, height)| *height == line[0].1), "{}: uneven line at {y}", dashboard["title"]);
        }
    }
}

#[test]
fn titles_and_identities_are_distinct() {
    let (mut uids, mut titles) = (BTreeSet::new(), BTreeSet::new());
    for dashboard in dashboards() {
        let uid = dashboard["uid"].as_str().unwrap();
        // Grafana takes at most 40 characters.
        assert!(uid.len() <= 40 && uids.insert(uid.to_owned()), "{uid}");
        assert!(titles.insert(dashboard["title"].as_str().unwrap().to_owned()));
        assert!(!dashboard["description"].as_str().unwrap().is_empty());
        let mut panel_titles = BTreeSet::new();
        for panel in panels(&dashboard) {
            assert!(panel_titles.insert(panel["title"].as_str().unwrap()), "{} occurs twice", name(&dashboard, panel));
        }
    }
}

#[test]
fn links_lead_to_dashboards_that_exist() {
    let all = dashboards();
    let uids: BTreeSet<&str> = all.iter().map(|dashboard| dashboard["uid"].as_str().unwrap()).collect();
    let mut links = 0;
    for dashboard in &all {
        assert_eq!(dashboard["links"][0]["tags"][0], TAG);
        assert_eq!(dashboard["tags"][0], TAG);
        for part in dashboard.to_string().split("\"/d/").skip(1) {
            let uid = part.split(['?', '"']).next().unwrap();
            assert!(uids.contains(uid), "no dashboard {uid}");
            links += 1;
        }
    }
    assert!(links > 0);
}
