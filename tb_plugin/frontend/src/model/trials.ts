import type { FindingWire, FixTrialWire } from "../api/wire";

/** Trials of what a fix proposes beside that of which `fix_result` tells. */
export function listFurther({ fix_result, trials = [] }: Pick<FindingWire, "fix_result" | "trials">): FixTrialWire[] {
  const told = fix_result !== null && trials[0]?.note === fix_result.note;
  return told ? trials.slice(1) : trials;
}

/** "Or, freeze it": the comment line with which a further proposal begins. */
export function nameProposal(code: string): string {
  const line = code.startsWith("#") ? (code.split("\n", 1)[0] as string) : "or";
  const said = line.replace(/^[#\s]+/, "").replace(/[:\s]+$/, "");
  return said.charAt(0).toUpperCase() + said.slice(1);
}
