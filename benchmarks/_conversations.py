"""Conversations made for measuring retrieval: what people say over months, questions about it, and where the answers are.

Facts of many kinds, each said and asked in several ways that share few words, are strewn over sessions between two
named people, or between a user and an assistant that writes long messages. Others say things of the same kind, so that
neither words nor meaning alone tell whose fact it is, and some answers only stand beside the words that are asked for.
"""

import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

NAMES = """Amara Bjorn Chloe Dmitri Elena Farid Greta Hiro Ines Jamal Katya Liam Mei Noor Oscar Priya Quentin Rosa Sven
Tariq Uma Viktor Wanda Ximena Yusuf Zoe""".split()


@dataclass(frozen=True, kw_only=True)
class Kind:
    """Something that people tell: `{x}` is what it is about, `{who}` in a question is who told it."""

    said: tuple[str, ...]
    asked: tuple[str, ...]
    answers: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Turn:
    """A message; `fact` is the number of the fact that it holds the evidence of, -1 for none."""

    session: int
    name: str
    role: str
    time: datetime
    text: str
    fact: int


@dataclass(frozen=True, kw_only=True)
class Query:
    """A question, asked after all that was said, and the turns that answer it."""

    text: str
    asked: datetime
    evidence: frozenset[int]


@dataclass(frozen=True, kw_only=True)
class Chat:
    """A conversation and what is asked about it."""

    turns: tuple[Turn, ...]
    queries: tuple[Query, ...]


def _kind(said: str, asked: str, answers: str) -> Kind:
    return Kind(
        said=tuple(said.split(" | ")),
        asked=tuple(asked.split(" | ")),
        answers=tuple(answers.split(" | ")),
    )


KINDS = (
    _kind(
        "We just adopted {x} from the shelter, the kids are over the moon | {x} has been chewing all my shoes | "
        "I spend my mornings walking {x} now",
        "What pet does {who} have? | Which animal did {who} bring home? | What kind of pet lives with {who}?",
        "a beagle puppy | a tabby kitten | a grey parrot | a greyhound | two guinea pigs | an old tortoise",
    ),
    _kind(
        "I finally signed up for {x}, first class was {when} | My {x} teacher says I have talent | "
        "I've been doing {x} after work and I'm hooked",
        "What hobby did {who} take up? | What is {who} learning in their free time? | What activity does {who} do after work?",
        "pottery | salsa | archery | fencing | watercolor painting | rock climbing | woodworking | tap dancing",
    ),
    _kind(
        "I got the offer, I start as {x} soon | They made me {x} {when}, can you believe it? | "
        "Being {x} keeps me on my feet all day",
        "What is {who}'s job? | What does {who} do for a living? | What position was {who} given?",
        "a paramedic | a pastry chef | a data engineer | head librarian | a tram driver | a translator | a florist",
    ),
    _kind(
        "The moving truck came {when}, so I'm a resident of {x} now | We found a tiny flat in {x} | "
        "Life in {x} is so much slower, I love it",
        "Where does {who} live? | Which city did {who} relocate to? | Where is {who}'s new home?",
        "Lisbon | Tromso | Kyoto | Valparaiso | Ghent | Tbilisi | Halifax | Porto Alegre",
    ),
    _kind(
        "We flew to {x} {when}, the photos don't do it justice | I just got back from {x}, still sunburned | "
        "Two weeks hiking around {x} were exactly what I needed",
        "Where did {who} go on vacation? | Which place did {who} travel to? | Where did {who} spend the holidays?",
        "Iceland | the Azores | Patagonia | Sri Lanka | Crete | the Dolomites | Oaxaca | Zanzibar",
    ),
    _kind(
        "The doctor says it's {x}, so no running for a while | I've been dealing with {x} since {when} | "
        "Turns out I have {x}, nothing serious they say",
        "What health problem does {who} have? | What was {who} diagnosed with? | Why did {who} see a physician?",
        "a stress fracture | migraines | tendonitis | a gluten intolerance | sleep apnea | anemia | a slipped disc",
    ),
    _kind(
        "I couldn't put down {x}, read it in one night | {x} made me cry on the train | I'm halfway through {x} and it's gripping",
        "What book did {who} read? | Which novel did {who} enjoy? | What has {who} been reading?",
        "The Overstory | Piranesi | Middlemarch | The Dispossessed | Beloved | Circe | Stoner | Kindred",
    ),
    _kind(
        "Dad gave me {x} for my birthday | I unwrapped {x} {when} and nearly screamed | Guess who owns {x} now? It was a surprise",
        "What present did {who} receive? | What gift was given to {who}? | What did {who} get for a birthday?",
        "a telescope | a vintage camera | a silver locket | a sewing machine | noise cancelling headphones | a kayak",
    ),
    _kind(
        "My sister {x} is getting married {when} | {x}, my little sister, passed the bar exam | I'm staying with my sister {x}",
        "What is the name of {who}'s sibling? | Who is {who}'s sister? | What is {who}'s sister called?",
        "Marguerite | Odette | Ingrid | Soledad | Beatrix | Philippa | Yolanda | Henrike",
    ),
    _kind(
        "Practising {x} for the recital, my fingers hurt | I've picked up {x} again after ten years | "
        "The neighbours complain whenever I play {x}",
        "Which instrument does {who} play? | What musical instrument did {who} return to? | What does {who} practise?",
        "the cello | the accordion | the clarinet | the ukulele | the harp | the trombone | the mandolin",
    ),
    _kind(
        "I ran {x} {when}, legs like jelly | Crossing the finish line of {x} was unreal | Training for {x} paid off, personal best!",
        "Which race did {who} take part in? | What sporting event did {who} complete? | What competition did {who} finish?",
        "the Rotterdam marathon | a triathlon | the charity 10k | an ultra trail | the harbour half marathon | a duathlon",
    ),
    _kind(
        "I volunteer at {x} every week | Spent the day helping out at {x} | {x} is short of hands, so I joined them {when}",
        "Where does {who} volunteer? | What charity does {who} support? | Which community work does {who} do?",
        "the food bank | the animal rescue | a homeless shelter | the coral nursery | the hospice | the youth club",
    ),
    _kind(
        "My {x} broke down on the highway {when} | Sold the old car, got {x} instead | Driving {x} to work feels like flying",
        "What car does {who} drive? | What vehicle did {who} buy? | What kind of automobile does {who} have?",
        "a red Fiat | a Volvo estate | an electric scooter | a camper van | a Mini Cooper | a pickup",
    ),
    _kind(
        "I can't eat {x}, my throat swells up | One bite with {x} in it and I end up in hospital | No {x} for me, please, I react badly",
        "What food is {who} allergic to? | Which ingredient must {who} avoid? | What is {who}'s allergy?",
        "peanuts | shellfish | sesame | kiwi | eggs | celery | walnuts | mustard",
    ),
    _kind(
        "I always make {x} when guests come over | My signature is {x}, grandma's recipe | Cooked {x} {when}, everyone wanted seconds",
        "What dish does {who} cook? | What is {who}'s favourite meal to prepare? | Which recipe is {who} known for?",
        "mushroom risotto | chicken tagine | pierogi | ramen from scratch | lentil moussaka | paella | beef rendang",
    ),
    _kind(
        "We painted the whole {x} {when} | The {x} is finally renovated, no more dust | I tore out the {x} floor by myself",
        "Which room did {who} redo? | What part of the house did {who} remodel? | What home improvement did {who} make?",
        "kitchen | attic | bathroom | hallway | nursery | basement | porch",
    ),
    _kind(
        "I'm taking evening classes in {x} | Got accepted to study {x}, classes began {when} | My thesis in {x} is due soon",
        "What does {who} study? | Which subject is {who} taking at university? | What degree is {who} working on?",
        "marine biology | architecture | nursing | linguistics | astronomy | accounting | social work | law",
    ),
    _kind(
        "We saw {x} live {when}, what a voice | Got front row tickets for {x} | My ears are still ringing from the {x} show",
        "Which band did {who} see? | What concert did {who} attend? | Which musician did {who} hear on stage?",
        "Fado Nova | the Velvet Owls | Kora Diarra | Northern Static | Lady Marmot | the Tin Kites",
    ),
    _kind(
        "My savings goal is {x} | Every spare penny goes into {x} | I opened an account just for {x} {when}",
        "What is {who} saving money for? | What does {who} want to afford? | What financial goal does {who} have?",
        "a sailboat | a down payment | a trip around the world | a food truck | a grand piano | a cabin by the lake",
    ),
    _kind(
        "I lost {x} on the bus {when} | I turned the flat upside down looking for {x} | {x} is gone, I must have dropped it somewhere",
        "What did {who} lose? | Which item went missing for {who}? | What can't {who} find?",
        "my passport | grandpa's watch | my house keys | my wedding ring | a folder of sketches | my glasses",
    ),
    _kind(
        "The garden is full of {x} this year | I planted {x} along the fence {when} | My {x} won a prize at the fair",
        "What does {who} grow? | Which plants does {who} have in the yard? | What did {who} sow?",
        "sunflowers | heirloom tomatoes | lavender | dahlias | pumpkins | runner beans | peonies",
    ),
    _kind(
        "I'm terrified of {x}, always have been | {x} make me freeze, I had to leave the room | Saw a documentary on {x} and could not sleep",
        "What is {who} afraid of? | Which phobia does {who} have? | What scares {who}?",
        "spiders | heights | deep water | clowns | snakes | thunderstorms | moths",
    ),
    _kind(
        "We named the baby {x}, she arrived {when} | Little {x} has my nose | {x} slept through the night for the first time",
        "What is {who}'s child called? | What name did {who} give the newborn? | Who is {who}'s daughter?",
        "Aurelia | Saoirse | Paloma | Linnea | Fatou | Clementine | Isolde",
    ),
    _kind(
        "I quit {x} {when}, feeling proud | Day thirty without {x} | No more {x} for me, my body thanks me",
        "What habit did {who} give up? | What has {who} stopped doing? | Which vice did {who} drop?",
        "smoking | coffee | sugar | social media | wine | energy drinks | gambling",
    ),
)  # fmt: skip

_WHEN = "yesterday | last week | last Saturday | two weeks ago | last month | three days ago | this morning | on Monday".split(
    " | "
)
_OPENERS = (
    "Hey {other}! How have you been? | What's new with you, {other}? | Long time no talk! | Good to hear from you, {other}! | "
    "Hi {other}, how was your week? | Any news on your side? | What have you been up to lately?"
).split(" | ")
_CHATTER = (
    "That sounds amazing! | Wow, tell me more! | I totally get that. | Haha, classic. | The weather has been awful here. | "
    "Work was so busy I barely slept. | You always know how to cheer me up. | I hope it all works out for you. | "
    "That's so cool, I'm proud of you! | Take care of yourself, okay? | We should meet up soon. | Same here, honestly. | "
    "I had a quiet weekend, mostly laundry. | Did you see the game? | Thanks for listening, it means a lot. | "
    "I keep thinking about what you said last time. | My neighbour is having a party again. | I love how you put that."
).split(" | ")
_ABOUT = (
    "When did {who} talk about {x}? | What did {who} say about {x}? | How did {who} come to {x}? | Why is {x} on {who}'s mind? | "
    "What happened to {who} with {x}? | How does {who} feel about {x}? | Since when does {who} have to do with {x}?"
).split(" | ")
_ECHOES = (
    "How is it going with {x}? | {x}, really? I had no idea! | A friend of mine also told me about {x}. | "
    "I was reminded of you, there was something on TV about {x}. | Are you still thinking about {x}?"
).split(" | ")
_PROMPTS = (
    "{question} Tell me everything! | {question} | So, {question} | Remind me, {question}".split(
        " | "
    )
)
_TASKS = (
    "plan a weekly budget | write a cover letter | fix a slow spreadsheet | choose a birthday menu | learn basic Spanish phrases | "
    "organise my closet | prepare for an interview | pick a podcast | write a toast | plan a road trip | compare phone plans | "
    "sleep better | start meal prep | draft a polite complaint | train for a short race | understand mortgages"
).split(" | ")
_ADVICE = (
    "Start by writing down what you want to achieve and by when | Set aside a fixed time each day, even fifteen minutes help | "
    "Compare at least three options before you decide | Keep track of your progress in a simple table | "
    "Ask a friend or a family member to look at it with fresh eyes | Break the work into small steps that you can finish in one go | "
    "Make a list of everything you need, including food, travel and gifts | Be careful with your health and rest when you need it | "
    "Think about the cost, the place and the people involved | A good book, a class or a local club can be a great start | "
    "Pets, plants and hobbies are all good ways to relax | Music can help you to focus, try an instrument or a concert | "
    "Consider your job, your home and your savings before you commit | Reward yourself when you reach a milestone"
).split(" | ")


def people_chat(seed: int, kinds: tuple[Kind, ...], *, sessions: int = 20) -> Chat:
    """Two named people, a session every week or two, some twenty short turns each."""
    dice = random.Random(seed)
    names = dice.sample(NAMES, 2)
    facts = [(kind, name) for kind in kinds for name in names for _ in range(2)]
    dice.shuffle(facts)
    share = len(facts) // sessions + 1
    turns: list[Turn] = []
    queries: list[tuple[str, int, datetime]] = []
    start = datetime(2022 + seed % 3, 1 + seed % 12, 3, 9, tzinfo=UTC)
    for session in range(sessions):
        now = start + timedelta(days=session * dice.randint(7, 13), hours=dice.randint(0, 9))
        opener = dice.choice(names)
        other = _other(names, opener)
        turns.append(_turn(session, opener, now, dice.choice(_OPENERS).format(other=other)))
        for number in range(session * share, min((session + 1) * share, len(facts))):
            queries.append((*_tell(dice, turns, facts[number], names, session, now, number), now))
    return _chat(dice, turns, queries)


def _tell(
    dice: random.Random,
    turns: list[Turn],
    fact: tuple[Kind, str],
    names: list[str],
    session: int,
    now: datetime,
    number: int,
) -> tuple[str, int]:
    kind, name = fact
    other = _other(names, name)
    answer = dice.choice(kind.answers)
    for _ in range(dice.randint(1, 4)):
        turns.append(_turn(session, dice.choice(names), now, dice.choice(_CHATTER)))
    how = dice.random()
    said = dice.choice(kind.said).format(x=answer, when=dice.choice(_WHEN))
    if how < 0.25:
        # The words that will be asked for are the other's; the answer stands beside them.
        question = _second_person(dice.choice(kind.asked))
        turns.append(_turn(session, other, now, dice.choice(_PROMPTS).format(question=question)))
        said = dice.choice(("It's {x}!", "{x}, and I'm so happy.", "Oh, {x}. Long story.")).format(
            x=answer.capitalize()
        )
    turns.append(_turn(session, name, now, f"{_lead(dice)}{said}.", fact=number))
    reply = _ECHOES if dice.random() < 0.4 else _CHATTER
    turns.append(_turn(session, other, now, dice.choice(reply).format(x=answer)))
    return _asked(dice, kind, answer).format(who=name), number


def _asked(dice: random.Random, kind: Kind, answer: str) -> str:
    """A question for the answer, in other words, or one about it, which has some of its words."""
    if dice.random() < 0.35:
        return dice.choice(kind.asked)
    words = answer.split()
    known = " ".join(words[-dice.randint(1, len(words)) :])
    return dice.choice(_ABOUT).replace("{x}", known)


def assistant_chat(seed: int, kinds: tuple[Kind, ...], *, sessions: int = 60) -> Chat:
    """A user who asks an assistant for all sorts of things, and tells of their life in passing; long messages."""
    dice = random.Random(seed)
    facts = list(kinds)
    dice.shuffle(facts)
    turns: list[Turn] = []
    queries: list[tuple[str, int, datetime]] = []
    start = datetime(2023, 1 + seed % 12, 1, 8, tzinfo=UTC)
    for session in range(sessions):
        now = start + timedelta(days=2 * session, hours=dice.randint(0, 9))
        task = dice.choice(_TASKS)
        placed = dice.randint(0, 2) if session < len(facts) else -1
        for exchange in range(dice.randint(3, 5)):
            text = f"Can you help me {task}?" if exchange == 0 else _request(dice, task)
            number = session if exchange == placed else -1
            if number >= 0:
                kind = facts[session]
                answer = dice.choice(kind.answers)
                fact = dice.choice(kind.said).format(x=answer, when=dice.choice(_WHEN))
                text = f"{text} By the way, {fact[0].lower()}{fact[1:]}. {_request(dice, task)}"
                asked = _first_person(_asked(dice, kind, answer))
                queries.append((asked, number, now))
            turns.append(_turn(session, "", now, text, role="user", fact=number))
            turns.append(_turn(session, "", now, _advice(dice, task), role="assistant"))
    return _chat(dice, turns, queries)


def _request(dice: random.Random, task: str) -> str:
    return dice.choice(
        (
            "Could you go into more detail on that?",
            f"What else should I think of to {task}?",
            "I'm not sure that fits my situation, what would you change?",
            "Thanks, that's useful. Can you make it shorter?",
            f"How long does it usually take to {task}?",
        )
    )


def _advice(dice: random.Random, task: str) -> str:
    steps = dice.sample(_ADVICE, dice.randint(4, 8))
    lines = [f"{number}. {step}." for number, step in enumerate(steps, 1)]
    return f"Sure! Here are some ideas to {task}:\n" + "\n".join(lines)


def _chat(dice: random.Random, turns: list[Turn], asked: list[tuple[str, int, datetime]]) -> Chat:
    last = turns[-1].time + timedelta(days=3)
    queries = []
    places: dict[int, set[int]] = {}
    by_text: dict[str, set[int]] = {}
    for place, turn in enumerate(turns):
        places.setdefault(turn.fact, set()).add(place)
    for text, number, time in asked:
        if dice.random() < 0.2:
            text = f"{text.rstrip('?')} in {time:%B %Y}?"
        by_text.setdefault(text, set()).update(places[number])
    for text, evidence in by_text.items():
        queries.append(Query(text=text, asked=last, evidence=frozenset(evidence)))
    return Chat(turns=tuple(turns), queries=tuple(queries))


def _turn(
    session: int, name: str, time: datetime, text: str, *, role: str = "user", fact: int = -1
) -> Turn:
    return Turn(session=session, name=name, role=role, time=time, text=text, fact=fact)


def _lead(dice: random.Random) -> str:
    return dice.choice(("", "", "Guess what! ", "Oh, and ", "You won't believe it: ", "Well, "))


def _other(names: list[str], name: str) -> str:
    return names[1] if name == names[0] else names[0]


def _second_person(question: str) -> str:
    return (
        question.replace("{who}'s", "your").replace("does {who}", "do you").replace("{who}", "you")
    )


def _first_person(question: str) -> str:
    return question.replace("{who}'s", "my").replace("does {who}", "do I").replace("{who}", "I")
