// What a request asks for, from its URL as it was received. The URL of a request without a usable `Host` has no host in it, and
// is none that a parser takes.

/** Path and query of a URL. */
export function targetOf(url: string): string {
  const host = url.indexOf("://");
  if (host < 0) return url;
  const path = url.indexOf("/", host + 3);
  return path < 0 ? "/" : url.slice(path);
}

/** The path of a URL, without its query. */
export function pathOf(url: string): string {
  const target = targetOf(url);
  const query = target.indexOf("?");
  return query < 0 ? target : target.slice(0, query);
}
