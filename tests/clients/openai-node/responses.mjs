// The openai package for Node, by its Responses API.

import OpenAI from "openai";
import { zodTextFormat } from "openai/helpers/zod";
import { z } from "zod";
import { getWeather, piece, serve, told, weatherSchema } from "./serving.mjs";

const tools = [
  {
    type: "function",
    name: "get_weather",
    description: "The weather in a city.",
    parameters: weatherSchema,
    strict: true,
  },
];

const client = (at) => new OpenAI({ baseURL: at.base_url, apiKey: at.api_key });

async function respond(at, stream, request) {
  request = { model: at.model, ...request };
  if (!stream) return client(at).responses.create(request);
  const streaming = client(at).responses.stream(request);
  streaming.on("response.output_text.delta", (event) => piece(event.delta));
  return streaming.finalResponse();
}

async function ask({ at, prompts, stream, picture }) {
  const texts = [];
  let response;
  for (const prompt of prompts) {
    const input = said(prompt, picture);
    response = await respond(at, stream, { input, previous_response_id: response?.id });
    texts.push(response.output_text);
  }
  const { input_tokens, output_tokens } = response.usage;
  return { texts, usage: { input: input_tokens, output: output_tokens } };
}

function said(prompt, picture) {
  if (!picture) return prompt;
  const content = [
    { type: "input_text", text: prompt },
    { type: "input_image", image_url: picture, detail: "auto" },
  ];
  return [{ role: "user", content }];
}

async function use_tools({ at, prompt, stream }) {
  let response = await respond(at, stream, { input: prompt, tools });
  for (;;) {
    const calls = response.output.filter((item) => item.type === "function_call");
    if (calls.length === 0) return { text: response.output_text, told };
    const input = calls.map((call) => ({
      type: "function_call_output",
      call_id: call.call_id,
      output: getWeather(JSON.parse(call.arguments)),
    }));
    const previous_response_id = response.id;
    response = await respond(at, stream, { input, previous_response_id, tools });
  }
}

async function structured({ at, prompt }) {
  const Person = z.object({ name: z.string(), age: z.number() });
  const response = await client(at).responses.parse({
    model: at.model,
    input: prompt,
    text: { format: zodTextFormat(Person, "person") },
  });
  return { value: response.output_parsed };
}

async function leave({ at, prompt }) {
  const events = await client(at).responses.create({
    model: at.model,
    input: prompt,
    stream: true,
  });
  for await (const event of events) {
    if (event.type === "response.output_text.delta") break;
  }
}

await serve({ ask, use_tools, structured, leave });
