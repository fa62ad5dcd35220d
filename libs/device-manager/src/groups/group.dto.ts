import { applyDecorators } from '@nestjs/common';
import { IsOptional, Matches } from 'class-validator';
import { IsText } from '../text.js';
import type { Group } from './group.entity.js';

const IsPathNode = (): PropertyDecorator =>
  applyDecorators(IsText(1, 256), Matches(/^[^/*]*$/, { message: 'a string without `/` and `*`' }));

class GroupPlaceDto {
  @IsOptional()
  @IsText(1, 64)
  parentId?: string | null;

  @IsOptional()
  @IsText(0, 2048)
  description?: string | null;
}

export class CreateGroupDto extends GroupPlaceDto {
  @IsPathNode()
  pathNode!: string;
}

/** What is omitted keeps its value, except the parent, which then is the root group (manual 8.1.3.1). */
export class UpdateGroupDto extends GroupPlaceDto {
  @IsOptional()
  @IsPathNode()
  pathNode?: string | null;
}

/** Manual 8.1.1. */
export interface GroupView {
  id: string;
  pathNode?: string;
  path: string;
  parentId?: string;
  description?: string;
  created: string;
  updated: string;
}

export const groupView = (group: Group): GroupView => ({
  id: group.id,
  ...(group.pathNode === null ? {} : { pathNode: group.pathNode }),
  path: group.path,
  ...(group.parentId === null ? {} : { parentId: group.parentId }),
  ...(group.description === null ? {} : { description: group.description }),
  created: group.created.toISOString(),
  updated: group.updated.toISOString(),
});
