// The Go SDK, told what to do by lines of JSON: see ../serving/serving.py.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"os"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/shared"
)

type command struct {
	Do string `json:"do"`
	At struct {
		BaseURL string `json:"base_url"`
		APIKey  string `json:"api_key"`
		Model   string `json:"model"`
	} `json:"at"`
	Prompt  string   `json:"prompt"`
	Prompts []string `json:"prompts"`
	Picture string   `json:"picture"`
	Stream  bool     `json:"stream"`
}

type object = map[string]any

var weather = map[string]string{"Oslo": "7 degrees", "Lima": "19 degrees"}

var weatherTool = openai.ChatCompletionFunctionTool(shared.FunctionDefinitionParam{
	Name:        "get_weather",
	Description: openai.String("The weather in a city."),
	Parameters:  schema(object{"city": object{"type": "string"}}, "city"),
})

func schema(properties object, required ...string) object {
	return object{
		"type":                 "object",
		"properties":           properties,
		"required":             required,
		"additionalProperties": false,
	}
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	tell(object{"ready": true})
	for lines.Scan() {
		var given command
		if err := json.Unmarshal(lines.Bytes(), &given); err != nil {
			panic(err)
		}
		result, err := given.carryOut()
		if err != nil {
			tell(object{"failure": failure(err)})
		} else {
			tell(object{"result": result})
		}
	}
}

func tell(line object) {
	if err := json.NewEncoder(os.Stdout).Encode(line); err != nil {
		panic(err)
	}
}

func failure(err error) object {
	var refused *openai.Error
	if errors.As(err, &refused) {
		return object{"status": refused.StatusCode, "message": refused.Message}
	}
	return object{"status": nil, "message": err.Error()}
}

func (c command) carryOut() (object, error) {
	switch c.Do {
	case "ask":
		return c.ask()
	case "use_tools":
		return c.useTools()
	case "structured":
		return c.structured()
	case "leave":
		return c.leave()
	}
	return nil, errors.New("unknown: " + c.Do)
}

func (c command) client() openai.Client {
	return openai.NewClient(option.WithBaseURL(c.At.BaseURL), option.WithAPIKey(c.At.APIKey))
}

type messages = []openai.ChatCompletionMessageParamUnion

// complete asks once; a stream is gathered, and told of piece by piece.
func (c command) complete(params openai.ChatCompletionNewParams) (*openai.ChatCompletion, error) {
	params.Model = c.At.Model
	client := c.client()
	if !c.Stream {
		return client.Chat.Completions.New(context.Background(), params)
	}
	params.StreamOptions = openai.ChatCompletionStreamOptionsParam{IncludeUsage: openai.Bool(true)}
	stream := client.Chat.Completions.NewStreaming(context.Background(), params)
	defer stream.Close()
	gathered := openai.ChatCompletionAccumulator{}
	for stream.Next() {
		chunk := stream.Current()
		if !gathered.AddChunk(chunk) {
			return nil, errors.New("a chunk does not fit the others")
		}
		if len(chunk.Choices) > 0 && chunk.Choices[0].Delta.Content != "" {
			tell(object{"piece": chunk.Choices[0].Delta.Content})
		}
	}
	return &gathered.ChatCompletion, stream.Err()
}

func (c command) ask() (object, error) {
	var history messages
	texts := []string{}
	usage := object{}
	for _, prompt := range c.Prompts {
		history = append(history, c.said(prompt))
		completion, err := c.complete(openai.ChatCompletionNewParams{Messages: history})
		if err != nil {
			return nil, err
		}
		message := completion.Choices[0].Message
		history = append(history, message.ToParam())
		texts = append(texts, message.Content)
		usage["input"] = completion.Usage.PromptTokens
		usage["output"] = completion.Usage.CompletionTokens
	}
	return object{"texts": texts, "usage": usage}, nil
}

func (c command) said(prompt string) openai.ChatCompletionMessageParamUnion {
	if c.Picture == "" {
		return openai.UserMessage(prompt)
	}
	shown := openai.ChatCompletionContentPartImageImageURLParam{URL: c.Picture}
	return openai.UserMessage([]openai.ChatCompletionContentPartUnionParam{
		openai.TextContentPart(prompt),
		openai.ImageContentPart(shown),
	})
}

func (c command) useTools() (object, error) {
	history := messages{openai.UserMessage(c.Prompt)}
	told := []string{}
	for {
		completion, err := c.complete(openai.ChatCompletionNewParams{
			Messages: history,
			Tools:    []openai.ChatCompletionToolUnionParam{weatherTool},
		})
		if err != nil {
			return nil, err
		}
		message := completion.Choices[0].Message
		history = append(history, message.ToParam())
		if len(message.ToolCalls) == 0 {
			return object{"text": message.Content, "told": told}, nil
		}
		for _, call := range message.ToolCalls {
			var arguments struct{ City string }
			if err := json.Unmarshal([]byte(call.Function.Arguments), &arguments); err != nil {
				return nil, err
			}
			told = append(told, arguments.City)
			history = append(history, openai.ToolMessage(weather[arguments.City], call.ID))
		}
	}
}

func (c command) structured() (object, error) {
	person := schema(
		object{"name": object{"type": "string"}, "age": object{"type": "integer"}}, "name", "age",
	)
	completion, err := c.complete(openai.ChatCompletionNewParams{
		Messages: messages{openai.UserMessage(c.Prompt)},
		ResponseFormat: openai.ChatCompletionNewParamsResponseFormatUnion{
			OfJSONSchema: &shared.ResponseFormatJSONSchemaParam{
				JSONSchema: shared.ResponseFormatJSONSchemaJSONSchemaParam{
					Name: "person", Schema: person, Strict: openai.Bool(true),
				},
			},
		},
	})
	if err != nil {
		return nil, err
	}
	var value object
	err = json.Unmarshal([]byte(completion.Choices[0].Message.Content), &value)
	return object{"value": value}, err
}

func (c command) leave() (object, error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	client := c.client()
	stream := client.Chat.Completions.NewStreaming(ctx, openai.ChatCompletionNewParams{
		Model:    c.At.Model,
		Messages: messages{openai.UserMessage(c.Prompt)},
	})
	for stream.Next() {
		if stream.Current().Choices[0].Delta.Content != "" {
			return object{}, nil
		}
	}
	return nil, stream.Err()
}
