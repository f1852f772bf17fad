// A client's program, told what to do by lines of JSON: see serving.py.

import { createInterface } from "node:readline";

const weather = { Oslo: "7 degrees", Lima: "19 degrees" };
export const told = []; // the cities that the weather was asked for, in order

export function getWeather({ city }) {
  told.push(city);
  return weather[city];
}

export const weatherSchema = {
  type: "object",
  properties: { city: { type: "string" } },
  required: ["city"],
  additionalProperties: false,
};

function tell(line) {
  process.stdout.write(JSON.stringify(line) + "\n");
}

export function piece(text) {
  if (text) tell({ piece: text });
}

export async function serve(verbs) {
  tell({ ready: true });
  for await (const line of createInterface({ input: process.stdin })) {
    const { do: verb, ...command } = JSON.parse(line);
    told.length = 0;
    try {
      tell({ result: (await verbs[verb](command)) ?? null });
    } catch (error) {
      console.error(error);
      tell({ failure: failure(error) });
    }
  }
}

function failure(error) {
  const status = error.status ?? error.statusCode ?? error.lastError?.statusCode ?? null;
  return { status, message: error.message };
}
