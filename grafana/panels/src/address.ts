// The address of the page holds all that is chosen, so that Back, bookmarks and links work.
import { useCallback, useEffect, useState } from "react";

/** The address's parameters, and a way to another one. */
export function useAddress(): [URLSearchParams, (next: URLSearchParams) => void] {
  const [params, setParams] = useState(() => new URLSearchParams(location.search));
  useEffect(() => {
    const moved = () => setParams(new URLSearchParams(location.search));
    addEventListener("popstate", moved);
    return () => removeEventListener("popstate", moved);
  }, []);
  const go = useCallback((next: URLSearchParams) => {
    history.pushState(null, "", `?${next}`);
    setParams(next);
  }, []);
  return [params, go];
}

/** Where a link to a dashboard leads, which has the form that Grafana gives it: `/d/UID?...`; undefined for other links. */
export function dashboardLink(href: string | null | undefined, from: URLSearchParams): URLSearchParams | undefined {
  const [, uid, query] = /^\/d\/([\w-]+)\??(.*)$/.exec(href ?? "") ?? [];
  if (!uid) {
    return undefined;
  }
  const next = new URLSearchParams(query);
  next.set("dashboard", uid);
  next.set("prometheus", from.get("prometheus") ?? "");
  return next;
}
