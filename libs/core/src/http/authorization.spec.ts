import { Controller, Get } from '@nestjs/common';
import { checkAccessIsStated, Public, Requires } from './index.js';

@Controller('stated')
class Stated {
  @Get()
  @Requires('DEVICE_R')
  list(): void {}

  @Get('anybody')
  @Requires()
  me(): void {}

  @Get('nobody')
  @Public()
  login(): void {}

  notAnOperation(): void {}
}

@Requires('DEVICE_R')
@Controller('whole')
class WholeController {
  @Get()
  list(): void {}
}

@Controller('forgotten')
class Forgotten {
  @Get()
  list(): void {}
}

describe('an operation of the REST API', () => {
  it('states what it requires, or that it is public', () => {
    expect(() => checkAccessIsStated([Stated, WholeController])).not.toThrow();
  });

  it('is refused at the start of a process when it states neither', () => {
    expect(() => checkAccessIsStated([Stated, Forgotten])).toThrow('Forgotten.list states neither');
  });
});
