/** Key and user, for as long as the tab is open: never in an address, never on a disk of ours. */

const NAME = "memgpt";

/** Returns what was kept, or null. @returns {{key: string, user: string} | null} */
export function kept() {
  const found = sessionStorage.getItem(NAME);
  return found === null ? null : JSON.parse(found);
}

export function keep({ key, user }) {
  sessionStorage.setItem(NAME, JSON.stringify({ key, user }));
}

export function forget() {
  sessionStorage.removeItem(NAME);
}
