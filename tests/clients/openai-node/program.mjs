// The openai package for Node.

import OpenAI from "openai";
import { zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";
import { getWeather, piece, serve, told, weatherSchema } from "./serving.mjs";

const tools = [
  {
    type: "function",
    function: {
      name: "get_weather",
      description: "The weather in a city.",
      parameters: weatherSchema,
      function: getWeather,
      parse: JSON.parse,
    },
  },
];

const client = (at) => new OpenAI({ baseURL: at.base_url, apiKey: at.api_key });

async function complete(at, messages, stream, options = {}) {
  const request = { model: at.model, messages, ...options };
  if (!stream) return client(at).chat.completions.create(request);
  request.stream_options = { include_usage: true };
  const streaming = client(at).chat.completions.stream(request);
  streaming.on("content", piece);
  return streaming.finalChatCompletion();
}

async function ask({ at, prompts, stream, picture }) {
  const history = [];
  const texts = [];
  let usage;
  for (const prompt of prompts) {
    history.push({ role: "user", content: content(prompt, picture) });
    const completion = await complete(at, history, stream);
    usage = completion.usage;
    history.push(completion.choices[0].message);
    texts.push(completion.choices[0].message.content);
  }
  return { texts, usage: { input: usage.prompt_tokens, output: usage.completion_tokens } };
}

function content(prompt, picture) {
  if (!picture) return prompt;
  return [
    { type: "text", text: prompt },
    { type: "image_url", image_url: { url: picture } },
  ];
}

async function use_tools({ at, prompt, stream = false }) {
  const messages = [{ role: "user", content: prompt }];
  const running = client(at).chat.completions.runTools({
    model: at.model,
    messages,
    tools,
    stream,
  });
  return { text: await running.finalContent(), told };
}

async function structured({ at, prompt }) {
  const Person = z.object({ name: z.string(), age: z.number() });
  const completion = await client(at).chat.completions.parse({
    model: at.model,
    messages: [{ role: "user", content: prompt }],
    response_format: zodResponseFormat(Person, "person"),
  });
  return { value: completion.choices[0].message.parsed };
}

async function leave({ at, prompt }) {
  const messages = [{ role: "user", content: prompt }];
  const stream = await client(at).chat.completions.create({
    model: at.model,
    messages,
    stream: true,
  });
  for await (const chunk of stream) {
    if (chunk.choices[0].delta.content) break;
  }
}

await serve({ ask, use_tools, structured, leave });
