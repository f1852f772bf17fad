// Vercel's AI SDK, with its provider for OpenAI and the one for compatible servers.

import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateObject, generateText, jsonSchema, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";
import { getWeather, piece, serve, told, weatherSchema } from "./serving.mjs";

const tools = {
  get_weather: tool({
    description: "The weather in a city.",
    inputSchema: jsonSchema(weatherSchema),
    execute: getWeather,
  }),
};

function model(at) {
  if (at.way === "compatible") {
    const provider = createOpenAICompatible({
      name: "memgpt",
      baseURL: at.base_url,
      apiKey: at.api_key,
      includeUsage: true,
      supportsStructuredOutputs: true,
    });
    return provider(at.model);
  }
  const openai = createOpenAI({ baseURL: at.base_url, apiKey: at.api_key });
  return at.way === "responses" ? openai(at.model) : openai.chat(at.model);
}

async function generate(at, messages, stream, options = {}) {
  const request = { model: model(at), messages, ...options };
  if (!stream) return generateText(request);
  const streaming = streamText({ ...request, onError: () => {} });
  for await (const part of streaming.fullStream) {
    if (part.type === "text-delta") piece(part.text);
    if (part.type === "error") throw part.error;
  }
  const [text, response, totalUsage] = await Promise.all([
    streaming.text,
    streaming.response,
    streaming.totalUsage,
  ]);
  return { text, response, totalUsage };
}

async function ask({ at, prompts, stream, picture }) {
  const history = [];
  const texts = [];
  let usage;
  for (const prompt of prompts) {
    history.push({ role: "user", content: content(prompt, picture) });
    const { text, response, totalUsage } = await generate(at, history, stream);
    usage = totalUsage;
    history.push(...response.messages);
    texts.push(text);
  }
  return { texts, usage: { input: usage.inputTokens, output: usage.outputTokens } };
}

function content(prompt, picture) {
  if (!picture) return prompt;
  return [
    { type: "text", text: prompt },
    { type: "image", image: picture },
  ];
}

async function use_tools({ at, prompt, stream }) {
  const messages = [{ role: "user", content: prompt }];
  const { text } = await generate(at, messages, stream, { tools, stopWhen: stepCountIs(5) });
  return { text, told };
}

async function structured({ at, prompt }) {
  const schema = z.object({ name: z.string(), age: z.number() });
  const { object } = await generateObject({ model: model(at), prompt, schema });
  return { value: object };
}

async function leave({ at, prompt }) {
  const controller = new AbortController();
  const { textStream } = streamText({
    model: model(at),
    prompt,
    abortSignal: controller.signal,
    onError: () => {},
  });
  for await (const text of textStream) {
    if (text) break;
  }
  controller.abort();
}

await serve({ ask, use_tools, structured, leave });
