import { render as renderTree } from "preact";
import { nameFrame } from "./host/parent";
import { followTheme } from "./host/theme";
import styleUrl from "./styles/page.css?url";
import { App } from "./ui/app";

/** TensorBoard's entry: fills the frame with the page. */
export async function render(): Promise<void> {
  document.documentElement.lang = "en";
  document.title = "Introspect";
  nameFrame("Introspect dashboard");
  followTheme();
  await linkStyle();
  renderTree(<App />, document.body);
}

/** The policy of TensorBoard takes style sheets from its own address; the page waits for it, so that it never shows bare. */
function linkStyle(): Promise<void> {
  return new Promise((resolve) => {
    const link = document.createElement("link");
    link.rel = "stylesheet";
    link.href = new URL(styleUrl, import.meta.url).href;
    link.onload = () => resolve();
    link.onerror = () => resolve();
    document.head.append(link);
  });
}
