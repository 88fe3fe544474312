import type { StatusKind } from "../model/status";
import type { Severity } from "../model/status";

/** Outlines on a 16 by 16 field, drawn with one stroke in the colour of the text. */
const OUTLINES = {
  check: "M3 8.5 6.5 12 13 4.5",
  cross: "M4 4l8 8M12 4l-8 8",
  half: "M8 2.5a5.5 5.5 0 1 0 0 11zM8 2.5a5.5 5.5 0 0 1 0 11",
  question: "M5.5 6a2.5 2.5 0 1 1 3.6 2.2c-.7.4-1.1.8-1.1 1.6M8 12.4v.2",
  lock: "M4 7.5h8v6H4zM5.5 7.5V5.2a2.5 2.5 0 0 1 5 0v2.3",
  thaw: "M4 7.5h8v6H4zM5.5 7.5V4.7a2.5 2.5 0 0 1 4.8-.9",
  wave: "M2 8.5c1.5-4 3-4 4.5 0s3 4 4.5 0c.8-2.1 1.7-3 3-2.6",
  error: "M5.5 2.5h5l3 3v5l-3 3h-5l-3-3v-5zM6 6l4 4M10 6l-4 4",
  warning: "M8 2.5 14 13.5H2zM8 6.5v3.2M8 11.5v.3",
  info: "M8 2.5a5.5 5.5 0 1 1 0 11 5.5 5.5 0 0 1 0-11zM8 7.5v3.4M8 5.2v.2",
  ok: "M8 2.5a5.5 5.5 0 1 1 0 11 5.5 5.5 0 0 1 0-11zM5.4 8.2l1.9 1.9 3.4-3.8",
  chevron: "M6 3.5 10.5 8 6 12.5",
  previous: "M10 3.5 5.5 8l4.5 4.5",
  copy: "M5.5 5.5v-3h8v8h-3M2.5 5.5h8v8h-8z",
  link: "M6.5 9.5l3-3M7 5l1.8-1.8a2.8 2.8 0 0 1 4 4L11 9M9 11l-1.8 1.8a2.8 2.8 0 0 1-4-4L5 7",
  download: "M8 2.5v7.5M4.8 7 8 10.2 11.2 7M3 13.5h10",
  search: "M7 3a4 4 0 1 1 0 8 4 4 0 0 1 0-8zM10 10l3.5 3.5",
  compare: "M2.5 4.5h4v7h-4zM9.5 4.5h4v7h-4zM8 2.5v11",
  live: "M8 6.6a1.4 1.4 0 1 1 0 2.8 1.4 1.4 0 0 1 0-2.8zM4.6 4.6a4.8 4.8 0 0 0 0 6.8M11.4 4.6a4.8 4.8 0 0 1 0 6.8",
  scissors: "M4 10.2a1.8 1.8 0 1 1 0 3.6 1.8 1.8 0 0 1 0-3.6zM12 10.2a1.8 1.8 0 1 1 0 3.6 1.8 1.8 0 0 1 0-3.6zM5 10.7 11 2.5M11 10.7 5 2.5",
  tree: "M3 3.5h4M5 3.5v9M5 8h4M5 12.5h4",
} as const;

export type IconName = keyof typeof OUTLINES;

/** A picture without a name of its own: a word always stands beside it, or names its button. */
export function Icon({ name, size = 16 }: { name: IconName; size?: number }) {
  return (
    <svg class={`icon icon-${name}`} width={size} height={size} viewBox="0 0 16 16" aria-hidden="true" focusable="false">
      <path d={OUTLINES[name]} />
    </svg>
  );
}

export const STATUS_ICONS: Record<StatusKind, IconName> = {
  trains: "check",
  frozen: "lock",
  stale: "cross",
  thawed: "thaw",
  partly: "half",
  kept: "wave",
  unknown: "question",
};

export const SEVERITY_ICONS: Record<Severity, IconName> = { none: "ok", info: "info", warning: "warning", error: "error" };

export const UPDATED_ICONS: ReadonlyMap<string, IconName> = new Map<string, IconName>([
  ["yes", "check"],
  ["no", "cross"],
  ["some", "half"],
  ["unknown", "question"],
]);
