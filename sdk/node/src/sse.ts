/** Parsing a stream of server-sent events (HTML Living Standard, section 9.2). */

const MAX_EVENT_LENGTH = 1 << 20;

/**
 * Cuts a stream into events. A chunk may end anywhere, inside a character or between CR and LF too.
 *
 * Ignores comments, unknown fields, `id` and `retry`, and events without a name. The parser deviates from the standard
 * in two points, so that a feed of changes loses none: broken characters throw a TypeError, and a named event without
 * data is returned too.
 */
export class EventParser {
  private readonly decoder = new TextDecoder("utf-8", { fatal: true }); // it also removes a byte order mark
  private line = ""; // the beginning of a line that has no end yet
  private afterCr = false; // a line feed that comes next belongs to this CR
  private name = "";
  private data: string[] = [];
  private length = 0; // of the event so far

  /** Return the events that this chunk completes. Throws for one that is too large or has broken characters. */
  *feed(chunk: Uint8Array): Generator<[name: string, data: string]> {
    for (const line of this.lines(this.decoder.decode(chunk, { stream: true }))) {
      this.length += line.length;
      if (line !== "") {
        this.takeField(line);
      } else {
        const [name, data] = [this.name, this.data.join("\n")];
        [this.name, this.data, this.length] = ["", [], 0];
        if (name !== "") yield [name, data];
      }
    }
    if (this.line.length + this.length > MAX_EVENT_LENGTH) throw new Error("an event without an end");
  }

  private lines(chunk: string): string[] {
    if (chunk === "") return [];
    const text = this.afterCr && chunk.startsWith("\n") ? chunk.slice(1) : chunk;
    this.afterCr = chunk.endsWith("\r");
    const lines = text.split(/\r\n|\n|\r/); // the part before is not searched again
    lines[0] = this.line + lines[0];
    this.line = lines.pop() ?? "";
    return lines;
  }

  private takeField(line: string): void {
    const colon = line.indexOf(":"); // a comment is a field without a name
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "event") this.name = value;
    else if (field === "data") this.data.push(value);
  }
}
