"""Instructor, around the ``openai`` package."""

import sys

import instructor
from openai import OpenAI
from pydantic import BaseModel
from serving import serve


class Person(BaseModel):
    name: str
    age: int


def client(at, mode=instructor.Mode.TOOLS):
    return instructor.from_openai(OpenAI(base_url=at["base_url"], api_key=at["api_key"]), mode=mode)


def structured(at, prompt):
    modes = [instructor.Mode.TOOLS, instructor.Mode.JSON_SCHEMA]
    values = [extract(client(at, mode), at["model"], prompt) for mode in modes]
    assert values[0] == values[1]
    return {"value": values[0]}


def extract(client, model, prompt):
    person = client.create(
        model=model, response_model=Person, messages=[{"role": "user", "content": prompt}]
    )
    return person.model_dump()


serve(sys.modules[__name__])
