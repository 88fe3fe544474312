/**
 * Tells whether a person can see the page. TensorBoard hides a tab by giving its frame no height, and leaves
 * `document.visibilityState` at "visible": an observer has to tell.
 */
export function watchVisibility(element: Element, onChange: (visible: boolean) => void): () => void {
  let intersects = true;
  let told: boolean | null = null;
  const tell = () => {
    const visible = intersects && !document.hidden && window.innerHeight > 0;
    if (visible !== told) onChange((told = visible));
  };
  const intersection = new IntersectionObserver((entries) => {
    intersects = entries.at(-1)?.isIntersecting ?? true;
    tell();
  });
  const size = new ResizeObserver(tell);
  intersection.observe(element);
  size.observe(document.documentElement);
  document.addEventListener("visibilitychange", tell);
  tell();
  return () => {
    intersection.disconnect();
    size.disconnect();
    document.removeEventListener("visibilitychange", tell);
  };
}
