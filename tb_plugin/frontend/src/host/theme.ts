import { findHost } from "./parent";

/** Follows TensorBoard's dark mode as it is switched; by itself, what the system prefers. */
export function followTheme(): () => void {
  const host = findHost();
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const framed = host !== window;
  const apply = () => {
    root.dataset["theme"] = isDark(host, framed, system) ? "dark" : "light";
  };
  apply();
  system.addEventListener("change", apply);
  const observer = new MutationObserver(apply);
  if (framed) observer.observe(host.document.body, { attributes: true, attributeFilter: ["class"] });
  return () => {
    observer.disconnect();
    system.removeEventListener("change", apply);
  };
}

function isDark(host: Window, framed: boolean, system: MediaQueryList): boolean {
  if (framed) return host.document.body.classList.contains("dark-mode");
  const forced = new URLSearchParams(window.location.search).get("darkMode");
  return forced === null ? system.matches : forced === "true";
}
